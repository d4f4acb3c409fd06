"""Atomic versions, for folders and for the single-file datasets of kedro-datasets."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from dg_project.core.files import ASIDE, atomic_file, sweep


@contextmanager
def atomic_version(target: Path, write: Callable[[Path], AbstractContextManager[Path]]) -> Iterator[Path]:
    """Yield a temporary path to write ``target`` to; after an error the folder of the version is removed too.

    Args:
        target: final path, ``<filepath>/<version>/<name>``.
        write: ``atomic_file`` or ``atomic_folder``.
    """
    for left in [*target.parent.parent.glob(f"*/{ASIDE}*")]:  # by runs that were killed
        sweep([left])
        with contextlib.suppress(OSError):
            left.parent.rmdir()
    try:
        with write(target) as aside:
            yield aside
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: someone else wrote to it
            target.parent.rmdir()
        raise


class AtomicFile:
    """Mixin for single-file datasets: write to a temporary file next to the target, then rename it.

    Otherwise a crash or a full disk could leave a partial file that the next run takes for the newest version.
    """

    def save(self, data: Any) -> None:
        """Write a new version atomically."""
        target = Path(self._get_save_path())  # type: ignore[attr-defined]
        with atomic_version(target, atomic_file) as aside:
            twin = copy.copy(self)
            twin._filepath, twin._version = PurePosixPath(aside), None  # type: ignore[attr-defined]
            super(AtomicFile, twin).save(data)  # type: ignore[misc]
