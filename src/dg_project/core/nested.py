"""Flatten nested parameters to dotted paths."""

from __future__ import annotations

from typing import Any


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts and pydantic models as one dict of dotted paths; an empty dict stays a value.

    >>> flatten({"training": {"lr": 0.1}, "seed": 0})
    {'training.lr': 0.1, 'seed': 0}
    """
    if hasattr(tree, "model_dump"):
        tree = tree.model_dump(mode="json")
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {path: leaf for key, value in tree.items()
            for path, leaf in flatten(value, f"{prefix}.{key}" if prefix else str(key)).items()}
