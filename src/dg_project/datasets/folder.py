"""A dataset whose artifact is a folder, written atomically per version."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io.core import AbstractVersionedDataset, DatasetError, Version

from dg_project.core.files import FolderWriter, atomic_folder, link_or_copy
from dg_project.datasets.atomic import atomic_version


class FolderDataset(AbstractVersionedDataset[FolderWriter | Path, Path]):
    """A folder of files, as ``<filepath>/<version>/<name>/...``.

    Save a function that writes into the empty folder it is given, or the path of a folder to copy (by hard links
    where possible). The folder gets its final name only when it is complete, so a crash leaves no partial version that
    the next run takes for the newest. Loading returns the path.
    """

    def __init__(
        self,
        *,
        filepath: str | os.PathLike[str],
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Create the dataset.

        Args:
            filepath: the folder; with versioning, the parent folder of the versions.
            version: set by Kedro if the catalog says ``versioned: true``.
            metadata: for Kedro-Viz and MLflow; ignored here.
        """
        self.metadata = metadata
        super().__init__(filepath=PurePosixPath(os.fspath(filepath)), version=version)

    def load(self) -> Path:
        """Return the folder of the loaded version."""
        return Path(self._get_load_path())

    def save(self, data: FolderWriter | Path) -> None:
        """Write a new version atomically."""
        target = Path(self._get_save_path())
        write: Callable[[Path], None] = data if callable(data) else _copier(Path(data))
        with atomic_version(target, atomic_folder) as folder:
            write(folder)

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_dir()
        except DatasetError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}


def _copier(source: Path) -> FolderWriter:
    if not source.is_dir():
        raise DatasetError(f"'{source}' is not a folder, so it cannot be saved as one")

    def write(folder: Path) -> None:
        for path in source.rglob("*"):
            if path.is_file():
                link_or_copy(path, folder / path.relative_to(source))

    return write
