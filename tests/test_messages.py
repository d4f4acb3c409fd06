"""The documented messages are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
VALUE = "\0"
"""Stands for a value in the text of a message."""


@cache
def messages() -> list[str]:
    """Texts of the code, with values as one character; parts that are joined by + are joined."""
    found = []
    for path in (PROJECT / "src" / "dg_project").rglob("*.py"):
        found += [text(node) for node in ast.walk(ast.parse(path.read_text()))
                  if isinstance(node, ast.JoinedStr | ast.Constant)]
    return found


def text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text, node.values))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else VALUE


def documented() -> list[str]:
    """Messages in the first column of the table under "When it stops"."""
    section = (PROJECT / "docs" / "add_a_dataset.md").read_text().split("## When it stops")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def fixed_parts(message: str) -> list[str]:
    """Parts of a documented message without its example values: …, numbers, quoted names.

    >>> fixed_parts("image id … comes twice")
    ['image id', 'comes twice']
    """
    parts = re.split(r"…|\d+x\d+|\d+(?:\.\d+)*|'[^']*'", message)
    return [part.strip(" ,.:'") for part in parts if len(part.strip(" ,.:'")) > 2]


@pytest.mark.parametrize("message", documented())
def test_documented_message_is_in_the_code(message: str) -> None:
    parts = fixed_parts(message)
    assert parts, "only values"
    assert any(all(part in known for part in parts) for known in messages()), parts


def test_changed_message_is_told() -> None:
    assert not any("image id" in known and "comes thrice" in known for known in messages())
    assert len(documented()) > 20
