"""The names of the methods and of their parameters, read from the source of ``methods/``.

Importing the methods imports torch, which takes many seconds; a misspelt name is told before that.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dg_project import config

METHODS = Path(__file__).parents[1] / "methods"


@dataclass(frozen=True)
class _Class:
    """A class definition: its bases, its annotated fields, and its value of ``name`` and ``Params``, if any."""

    bases: list[str]
    fields: list[str]
    values: dict[str, str]


def method_parameters(folder: Path = METHODS) -> dict[str, list[str]]:
    """Return the names of the parameters of every method, by method name."""
    classes = {node.name: _read(node) for path in sorted(folder.rglob("*.py"))
               for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)}
    return {own.values["name"]: list(dict.fromkeys(_fields(_inherited(name, "Params", classes), classes)))
            for name, own in classes.items() if "name" in own.values}


def _read(node: ast.ClassDef) -> _Class:
    fields, values = [], {}
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            fields.append(line.target.id)
            if isinstance(line.value, ast.Constant) and isinstance(line.value.value, str):
                values[line.target.id] = line.value.value
            elif isinstance(line.value, ast.Name):
                values[line.target.id] = line.value.id
    return _Class([base.id for base in node.bases if isinstance(base, ast.Name)], fields, values)


def _inherited(name: str, attribute: str, classes: dict[str, _Class]) -> str:
    """Return the value of a class attribute, of the class or of its first base that has it; "" if none has."""
    own = classes.get(name)
    if own is None or attribute in own.values:
        return own.values[attribute] if own else ""
    return next((found for base in own.bases if (found := _inherited(base, attribute, classes))), "")


def _fields(name: str, classes: dict[str, _Class]) -> Iterator[str]:
    """Yield the fields of a parameter class, those of its bases first."""
    if name not in classes:
        yield from getattr(getattr(config, name, None), "model_fields", {})
        return
    for base in classes[name].bases:
        yield from _fields(base, classes)
    yield from classes[name].fields
