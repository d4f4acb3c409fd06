"""Cache keys of code: a hash of a module and of everything it imports inside the package.

Imports are read from the source, including those inside functions, so no list of files is kept by hand. Comments,
docstrings and formatting do not change the key.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from dg_project.core.files import fingerprint

PACKAGE = __name__.split(".", maxsplit=1)[0]
ROOT = Path(__file__).parents[2]
"""Folder that contains the package."""


def code_key(*modules: str, root: Path = ROOT) -> str:
    """Return 16 hex digits that change when the code of any of the modules or of their imports changes.

    Args:
        modules: dotted names, such as ``"dg_project.pseudo.synthesis"``.
        root: folder that contains the package.
    """
    return fingerprint(module_hashes(*modules, root=root))


def module_hashes(*modules: str, root: Path = ROOT) -> dict[str, str]:
    """Return the hash of each of the modules and of every module they import, by dotted name, sorted.

    Raises:
        ModuleNotFoundError: the package has no such module.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imported = _code(root, name)
            waiting += imported
    return dict(sorted(found.items()))


def closure(*modules: str, root: Path = ROOT) -> list[str]:
    """Return the modules and everything they import inside the package, directly or indirectly, sorted.

    Raises:
        ModuleNotFoundError: the package has no such module.
    """
    return list(module_hashes(*modules, root=root))


def every_module(root: Path = ROOT) -> list[str]:
    """Return the names of all modules of the package."""
    paths = (path.relative_to(root).with_suffix("") for path in sorted((root / PACKAGE).rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def _code(root: Path, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a module's code and the modules of the package that it imports."""
    path = _path(root, name)
    if path is None:
        raise ModuleNotFoundError(f"there is no module '{name}' below '{root}'", name=name)
    status = path.stat()
    return _read(root, name, path, status.st_mtime_ns, status.st_size)


@cache
def _read(root: Path, name: str, path: Path, changed: int, size: int) -> tuple[str, tuple[str, ...]]:
    """See ``_code``; a file is parsed again only if its time or size changed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {module for found in _imports(tree) for module in _existing(root, found)}
    return hashlib.sha256(ast.dump(_without_strings(tree)).encode()).hexdigest()[:16], tuple(sorted(imported - {name}))


def _path(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _existing(root: Path, name: str) -> Iterator[str]:
    """Yield a module and its parent packages, whose ``__init__`` runs first; skip names defined inside a module."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        module = ".".join(parts[:length])
        if _path(root, module) is not None:
            yield module


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that code imports from the package, except under ``TYPE_CHECKING``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += _below(node)


def _without_strings(tree: ast.Module) -> ast.Module:
    """Remove all docstrings: of modules, classes, functions and constants."""
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        waiting += _below(node)
        if hasattr(node, "body"):
            node.body = [line for line in node.body if not (isinstance(line, ast.Expr)
                                                            and isinstance(line.value, ast.Constant)
                                                            and isinstance(line.value.value, str))]
    return tree


def _below(node: ast.AST) -> list[ast.AST]:
    """Return the statements right below a module or a statement, and the parts of ``try`` and ``match``.

    Expressions, which are most nodes of a tree, hold no statements.
    """
    return [line for name in ("body", "handlers", "cases", "orelse", "finalbody") for line in getattr(node, name, ())]
