"""A version is whole or absent: for folders, and for the single files of kedro-datasets."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from dg_project.core.files import atomic_file


@contextmanager
def whole(target: Path, write: Callable[[Path], AbstractContextManager[Path]]) -> Iterator[Path]:
    """Yield a place aside of ``target`` to write to; after an error not even the folder of the version stays.

    Args:
        target: what is to appear, ``<filepath>/<version>/<name>``.
        write: ``atomic_file`` or ``atomic_folder``.
    """
    try:
        with write(target) as aside:
            yield aside
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: it is not ours
            target.parent.rmdir()
        raise


class WholeFile:
    """Mixin for single-file datasets: write beside the target, then rename.

    A crash or a full disk would otherwise leave half a file, which the next run takes for the newest version.
    """

    def save(self, data: Any) -> None:
        """Write a new version, whole or not at all."""
        target = Path(self._get_save_path())  # type: ignore[attr-defined]
        with whole(target, atomic_file) as aside:
            twin = copy.copy(self)
            twin._filepath, twin._version = PurePosixPath(aside), None  # type: ignore[attr-defined]
            super(WholeFile, twin).save(data)  # type: ignore[misc]
