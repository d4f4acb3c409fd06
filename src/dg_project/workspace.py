"""The workspace: unfinished and reusable work on disk, in folders named after everything that determines it.

A run that was killed finds its folder again and goes on; a run with other inputs gets another folder. Nothing in it is
an artifact: finished work is published through the catalog, and the workspace may be deleted at any time.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.files import FolderWriter, fingerprint, inside, link_or_copy

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def place(workspace: Path, kind: str, *inputs: Any) -> Path:
    """Return ``<workspace>/<kind>/<fingerprint of the inputs>``, made if need be."""
    folder = workspace / kind / fingerprint(*inputs)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class BusyError(Exception):
    """Another process works in the folder."""


@contextmanager
def claim(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold a folder of the workspace against other processes; the system lets go of it when a process dies.

    Args:
        folder: that exists.
        wait: until it is free.

    Raises:
        BusyError: another process holds it, and ``wait`` is False.
    """
    with hold(folder / ".lock", wait):
        yield


@contextmanager
def hold(lock: Path, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, made if need be; see ``claim``."""
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise BusyError(str(lock)) from error
        yield


@lru_cache
def code_hash(*names: str) -> str:
    """Return 16 hex digits of what the code does: comments, docstrings and layout do not count.

    Args:
        names: files or folders below the package, such as ``"training"`` or ``"methods/erm.py"``.
    """
    root = Path(__file__).parent
    files = sorted({path for name in names for path in _sources(root / name)})
    return fingerprint([(path.relative_to(root).as_posix(), _meaning(path)) for path in files])


def _sources(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def publish_images(folder: Path, manifest: pd.DataFrame) -> FolderWriter:
    """Return a writer that links the images of a manifest (and the JSON card beside each) into a new folder."""
    names = [str(name) for name in manifest["image"]]

    def write(target: Path) -> None:
        for name in names:
            image = inside(folder, name)
            for path in (image, image.with_suffix(".json")):
                if path.is_file():
                    link_or_copy(path, target / path.relative_to(folder))

    return write


def publish_folder(folder: Path) -> FolderWriter:
    """Return a writer that links every file of ``folder`` into a new folder."""
    return publish_folders({".": folder})


def publish_folders(folders: dict[str, Path]) -> FolderWriter:
    """Return a writer that links every file of each folder into the sub-folder that it is named by."""
    def write(target: Path) -> None:
        for name, folder in folders.items():
            for path in folder.rglob("*"):
                if path.is_file():
                    link_or_copy(path, target / name / path.relative_to(folder))

    return write
