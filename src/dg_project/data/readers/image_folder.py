"""Image folders ``<domain>/<class>/<image>``: PACS, VLCS, OfficeHome, TerraIncognita, DomainNet."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dg_project.core.errors import DataError
from dg_project.data.readers.base import Listing, RawObject, RawSample, Reader
from dg_project.data.readers.folders import (
    ALL,
    folders_in,
    image_size,
    images_below,
    images_in,
    plain,
    read_text,
    unpack_hint,
)


class ImageFolderReader(Reader):
    """Reads every image as one object of its own size, with the folder's name as its class, sub-folders included.

    The only split is ``all``, of which ``data.splits`` takes shares. A list ``<domain>_<split>.txt`` next to the
    domain's folder adds a split (DomainNet publishes such lists: path and class number per line).
    """

    def read(self, split: str) -> Listing:
        """List the images class by class."""
        loose = images_in(self.place.folder)
        left = [f"{self.place.folder}: {len(loose)} images, such as '{loose[0].name}', are in no class folder and are "
                "not read"] if loose else []
        folders = [folder.name for folder in folders_in(self.place.folder)]
        return Listing([(name, partial(_sample, path, self._class(path))) for name, path in self.images(split)],
                       folders, left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images class by class, without their classes."""
        folders = folders_in(self.place.folder)
        if not folders:
            raise DataError(f"there is no class folder in '{self.place.folder}'.{unpack_hint(self.place.folder)} The "
                            "image_folder reader expects <root>/<domain>/<class>/<image>; correct data.root")
        images = [path for folder in folders for path in images_below(folder)]
        if split != ALL:
            images = self._in_list(images, split)
        return [(path.relative_to(self.place.folder).with_suffix("").as_posix(), path) for path in images]

    def _class(self, path: Path) -> str:
        return path.relative_to(self.place.folder).parts[0]

    def _in_list(self, images: list[Path], split: str) -> list[Path]:
        above = self.place.folder.parent
        path = above / f"{self.place.folder.name}_{split}.txt"
        if not path.is_file():
            raise DataError(f"there is no list '{path}', so the only split of '{self.place.domain}' is '{ALL}'; take "
                            "shares of it: data.splits {train: 'all[:80%]', val: 'all[80%:90%]', test: 'all[90%:]'} "
                            "and data.target_split: all")
        by_path = {plain(image.relative_to(above).as_posix()): image for image in images}
        lines = read_text(path, "restore it").splitlines()
        names = [plain(line.strip().rsplit(maxsplit=1)[0]) for line in lines if line.strip()]
        if missing := [name for name in names if name not in by_path]:
            raise DataError(f"{path}: it lists '{missing[0]}', which is not in '{above}'; unpack the images "
                            "there, or remove the line")
        return [by_path[name] for name in names]


def _sample(path: Path, name: str) -> RawSample:
    width, height = image_size(path)
    return RawSample(path, path, [RawObject(name, (0.0, 0.0, float(width), float(height)))])
