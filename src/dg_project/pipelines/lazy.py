"""Modules that node functions name in their signatures, imported at first use.

Kedro reads the signatures of nodes, so the names must exist; importing pandas and matplotlib for that would make
``kedro registry list`` twice as slow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib import figure as figure
else:

    class _Lazy:
        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module(self._module), name)

    pd = _Lazy("pandas")
    figure = _Lazy("matplotlib.figure")

__all__ = ["figure", "pd"]
