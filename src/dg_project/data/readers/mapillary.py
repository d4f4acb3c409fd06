"""Mapillary Vistas v1.2: ``{training,validation}/{images,labels,instances}`` and ``config.json``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dg_project.config import SEMANTIC_CLASSES
from dg_project.core.errors import DataError
from dg_project.data.instances import extents, read_index_map, values_in
from dg_project.data.masks import FIRST_THING, MAPILLARY, MAPILLARY_LABELS
from dg_project.data.readers.base import Listing, RawObject, RawSample, Reader
from dg_project.data.readers.folders import expected_form, first_file, is_there, need_folder, need_images, read_json
from dg_project.data.readers.leftovers import masks_without_image

_SPLITS = {"train": "training", "val": "validation", "test": "testing"}
_THINGS = {label: SEMANTIC_CLASSES[train_id] for label, (_, train_id) in MAPILLARY.items() if train_id >= FIRST_THING}


class MapillaryReader(Reader):
    """Reads masks and instances; boxes are instance extents of persons, riders and vehicles, with Cityscapes names."""

    def read(self, split: str) -> Listing:
        """List a split; train, val and test are short for training, validation and testing."""
        images, folder = self.images(split), self.place.folder / _SPLITS.get(split, split)
        self._check_version()
        truth = folder / "v1.2" if (folder / "v1.2").is_dir() else folder  # the v2.0 package contains v1.2
        labels = need_folder(truth / "labels", "The mapillary reader expects the masks there; the testing split has "
                                                "none")
        left = masks_without_image(labels, folder / "images")
        return Listing([(name, partial(_sample, path, truth)) for name, path in images], warnings=left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images of a split; no mask or version is needed."""
        folder = self.place.folder / _SPLITS.get(split, split) / "images"
        return [(path.stem, path) for path in need_images(
            folder, "The mapillary reader expects <root>/<domain>/{training,validation}/{images,labels,instances}; "
                    "correct data.splits or data.root")]

    def _check_version(self) -> None:
        """Refuse v2.0: its ids differ, and its masks would be read without an error."""
        path = first_file(self.place.folder / "config_v1.2.json", self.place.folder / "config.json")
        if path is None:
            raise DataError(f"'{self.place.folder}' has no config.json, which defines the ids of the masks; "
                            "copy it there from the data set")
        content = read_json(path, "restore it")
        with expected_form(path, "a Mapillary configuration with labels"):
            names = [str(label["name"]) for label in content["labels"]]
        if len(names) != MAPILLARY_LABELS or any(names[label] != name for label, (name, _) in MAPILLARY.items()):
            raise DataError(f"{path}: it has {len(names)} labels, not the {MAPILLARY_LABELS} of v1.2; use the labels "
                            "of v1.2 and their config.json")


def _sample(image: Path, truth: Path) -> RawSample:
    mask, indices = truth / "labels" / f"{image.stem}.png", truth / "instances" / f"{image.stem}.png"
    if not mask.is_file():
        raise DataError(f"'{image}' has no mask: '{mask}' is missing; restore it")
    objects = _instances(indices) if is_there(indices) else []
    return RawSample(image, indices if objects else mask, objects, None, mask, "mapillary",
                     indices if is_there(indices) else None)


def _instances(path: Path) -> list[RawObject]:
    """Return the objects of an instance map: label id * 256 + number."""
    values = read_index_map(path)
    present = [value for value in values_in(values) if value // 256 in _THINGS]
    return [RawObject(_THINGS[value // 256], box, False, value)
            for value, box in zip(present, extents(values, present), strict=True)]
