"""Atomic writes, content hashes, and paths that must stay inside their root."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import textwrap
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from dg_project.core.errors import DataError

LONGEST_NAME = 255
"""Characters; file systems allow no longer name."""
ASIDE = f".tmp-{platform.node()}-"
"""How names of unfinished files and folders of this machine begin; the number of their process follows."""
_CONTROL = re.compile(r"[\x01-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and bytes of names that are not UTF-8."""

FolderWriter = Callable[[Path], None]
"""A function that writes the files of a folder artifact into the empty folder it is given."""


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a hidden sibling of ``target`` to write to; it is renamed to ``target`` if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(target)
    try:
        yield aside
        aside.replace(target)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty hidden sibling folder; it replaces ``target`` if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(target)
    try:
        aside.mkdir()
        yield aside
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    """Return a temporary sibling whose name says which process writes it."""
    return target.parent / f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex}{target.suffix}"


def sweep(leftovers: Iterable[Path]) -> None:
    """Remove temporary files and folders (``ASIDE*``) of processes of this machine that were killed."""
    for path in leftovers:
        writer = path.name.removeprefix(ASIDE).split("-")[0]
        if path.name.startswith(ASIDE) and writer.isdigit() and not psutil.pid_exists(int(writer)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _explain(error: OSError, target: Path) -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(error.errno, f"the disk is full: '{target}' was not written, and no partial file is left. "
                                    "Free some space and run the same command again; it resumes")
    return error


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link ``source`` to ``target``, or copy it if the file system does not support links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def fingerprint(*parts: Any) -> str:
    """Return 16 hex digits that change when any part (JSON-able, path-like or pydantic model) changes."""
    return hashlib.sha256(_JSON.encode(parts).encode()).hexdigest()[:16]


def fingerprint_rows(rows: Iterable[Any]) -> str:
    """Return ``fingerprint(list(rows))``, with one row in memory at a time."""
    digest = hashlib.sha256(b"[[")
    for number, row in enumerate(rows):
        digest.update(f"{', ' if number else ''}{_JSON.encode(row)}".encode())
    digest.update(b"]]")
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)


_JSON = json.JSONEncoder(sort_keys=True, default=_plain)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_hash(folder: Path) -> str:
    """Return a fingerprint of the safetensors files of a folder; ``""`` if there are none (a hub name, for example)."""
    weights = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
    return fingerprint([file_hash(path) for path in weights]) if weights else ""


def folder_hash(folder: Path) -> str:
    """Return 16 hex digits of the names and bytes of every file below ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint([(path.relative_to(folder).as_posix(), file_hash(path)) for path in files])


@lru_cache(maxsize=4096)
def _resolved(folder: Path) -> Path:
    """Return a folder with its links followed; many files share one."""
    return folder.resolve()


def inside(root: Path, relative: str) -> Path:
    """Return ``root / relative``, refusing absolute paths and any that leave the root.

    Raises:
        DataError: the path leaves ``root``, its symbolic links form a loop, or a name in it is too long or holds a
            control character.
    """
    path = root / relative
    if _CONTROL.search(relative) or max(map(len, path.parts), default=0) > LONGEST_NAME:
        raise DataError(f"the name '{textwrap.shorten(relative, 200)}' has a control character or is longer than "
                        f"{LONGEST_NAME}; rename the file, and correct what names it")
    try:
        linked = path.name == ".." or "\0" in path.name or path.is_symlink()
        resolved = path.resolve() if linked else _resolved(path.parent) / path.name
    except (RuntimeError, OSError, ValueError) as error:  # looping links, or a name with a zero byte
        raise DataError(f"the path {str(path)!r} cannot be resolved ({error}); remove or correct its symbolic "
                        "links, or the name") from error
    if Path(relative).is_absolute() or not resolved.is_relative_to(_resolved(root)):
        raise DataError(f"the path '{relative}' leaves its root '{root}': manifests may only name files below the root")
    return path
