"""Load a library at its first use instead of its import."""

from __future__ import annotations

import importlib.util
import sys


def import_lazily(name: str) -> None:
    """Let ``import <name>`` return at once; the first attribute that is asked for loads the library."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
