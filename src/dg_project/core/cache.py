"""Cache of unfinished and reusable work: folders of the workspace, named by a hash of inputs and code.

A killed run finds its folder and resumes; a run with other inputs gets another folder. Finished work is published
through the catalog, so the workspace can be deleted at any time.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from dg_project.core.code_key import module_hashes
from dg_project.core.files import ASIDE, FolderWriter, atomic_file, fingerprint, inside, link_or_copy, sweep

logger = logging.getLogger(__name__)
T = TypeVar("T")

CODE = "code.json"
"""File in a cache folder with the hash of every module that its content depends on."""
MOST_NAMES = 4


def cache_folder(workspace: Path, kind: str, *inputs: Any, code: Iterable[str]) -> Path:
    """Return the folder ``<workspace>/<kind>/<key of the inputs>-<key of the code>``, created if missing.

    Args:
        workspace: root folder of all cached work.
        kind: kind of content, such as ``training``.
        inputs: everything that determines the content except the code: parameters, manifests, file hashes.
        code: dotted names of the modules that produce the content; their imports count too (see ``code_key``).
    """
    hashes = module_hashes(*code)
    folder = workspace / kind / f"{fingerprint(*inputs)}-{fingerprint(hashes)}"
    _sweep_once(folder)
    if not (folder / CODE).is_file():
        _tell_outdated(folder, hashes)
        with atomic_file(folder / CODE) as aside:
            aside.write_text(json.dumps(hashes, indent=1))
    return folder


@cache
def _sweep_once(folder: Path) -> None:
    """Remove what killed processes left in a folder, which may hold very many files, once per process."""
    sweep(folder.rglob(f"{ASIDE}*"))


def _tell_outdated(folder: Path, hashes: dict[str, str]) -> None:
    """Log once which modules changed since cached work on the same inputs."""
    for older in sorted(folder.parent.glob(f"{folder.name.split('-')[0]}-*")):
        try:
            before = json.loads((older / CODE).read_text())
        except (OSError, ValueError):
            continue
        changed = sorted(name for name in {*before, *hashes} if before.get(name) != hashes.get(name))
        logger.info("%s %s has the same inputs but is not used again: the code changed in %s", folder.parent.name,
                    older.name, ", ".join(changed[:MOST_NAMES]) + (" ..." if len(changed) > MOST_NAMES else ""))


class BusyError(Exception):
    """Another process holds the lock."""


@contextmanager
def lock_folder(folder: Path, wait: bool = True) -> Iterator[None]:
    """Lock a workspace folder against other processes; the system releases the lock when the process dies.

    Args:
        folder: existing folder.
        wait: wait until the lock is free.

    Raises:
        BusyError: another process holds the lock and ``wait`` is False.
    """
    with lock_file(folder / ".lock", wait):
        yield


@contextmanager
def lock_file(lock: Path, wait: bool = True) -> Iterator[None]:
    """Lock a file, created if missing; see ``lock_folder``."""
    with lock.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise BusyError(str(lock)) from error
        yield


def work_through(what: str, pieces: Mapping[str, Callable[[bool], T]]) -> dict[str, T]:
    """Do pieces of work that other processes may do too, in any order; return their results in the given order.

    A piece that another process holds is postponed, and waited for at the end.

    Args:
        what: what a piece is called in the log.
        pieces: name -> function that does the piece. It gets ``wait``, and raises ``BusyError`` if that is False and
            another process holds the piece.
    """
    done: dict[str, T] = {}
    busy = []
    for number, (name, piece) in enumerate(pieces.items(), 1):
        logger.info("%s %d of %d: %s", what, number, len(pieces), name)
        try:
            done[name] = piece(False)
        except BusyError:
            busy.append(name)
    if busy:
        logger.info("another process works on %s; waiting for it", ", ".join(busy))
        done |= {name: pieces[name](True) for name in busy}
    return {name: done[name] for name in pieces}


def publish_images(folder: Path, manifest: pd.DataFrame) -> FolderWriter:
    """Return a writer that links the images of a manifest (and the JSON card next to each) into a new folder."""
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
    """Return a writer that links every file of each folder into a subfolder of the given name."""
    def write(target: Path) -> None:
        for name, folder in folders.items():
            for path in folder.rglob("*"):
                if path.is_file():
                    link_or_copy(path, target / name / path.relative_to(folder))

    return write
