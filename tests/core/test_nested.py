"""Nested parameters become dotted paths."""

from __future__ import annotations

from dg_project.config import TrainingParams
from dg_project.core.nested import flatten


def test_flatten_names_nested_keys() -> None:
    assert list(flatten({"a": {"b": 1, "c": {}}, "d": [1]}).items()) == [("a.b", 1), ("a.c", {}), ("d", [1])]


def test_flatten_opens_pydantic_models() -> None:
    flat = flatten({"training": TrainingParams()})
    assert flat["training.source_share"] == 0.5
    assert all(path.startswith("training.") for path in flat)
