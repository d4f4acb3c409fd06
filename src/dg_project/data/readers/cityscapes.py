"""Cityscapes: ``leftImg8bit/<split>/<city>`` and ``gtFine``; also Foggy Cityscapes by fog density."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from dg_project.config import SEMANTIC_CLASSES, Params
from dg_project.core.errors import DataError
from dg_project.data.instances import extents, read_index_map, values_in
from dg_project.data.masks import CITYSCAPES, FIRST_THING
from dg_project.data.readers.base import Listing, RawObject, RawSample, Reader
from dg_project.data.readers.flags import flag
from dg_project.data.readers.folders import (
    expected_form,
    first_file,
    folders_in,
    images_in,
    is_there,
    need_folder,
    read_json,
    unpack_hint,
)
from dg_project.data.readers.leftovers import names_in, without_image

THINGS = {label: SEMANTIC_CLASSES[train_id] for label, train_id in CITYSCAPES.items() if train_id >= FIRST_THING}
"""Label id -> name of the eight classes with instances."""

_GROUND_TRUTH = "Unpack gtFine_trainvaltest.zip there, next to the images"


class CityscapesReader(Reader):
    """Reads masks and instances; boxes are instance extents, and unseparated groups of objects are difficult."""

    class Options(Params):
        """Selection of images."""

        beta: float | None = Field(None, gt=0, description="fog density of Foggy Cityscapes: 0.005, 0.01 or 0.02; None "
                                                           "reads the clear images")

    options: Options

    def read(self, split: str) -> Listing:
        """List the images of all cities of a split."""
        listed = self.images(split)
        truth = need_folder(self.place.folder / "gtFine" / split, _GROUND_TRUTH)
        masks = [name for city in folders_in(truth) for name in names_in(city, ".png", "_gtFine_labelIds")]
        left = without_image(masks, [name for name, _ in listed], "masks", truth, "restore the images", stop=False)
        return Listing([(name, partial(self._sample, split, path, name)) for name, path in listed], warnings=left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images of all cities of a split; no ground truth is needed."""
        folder, tail = self._images(split)
        cities = folders_in(folder)
        found = [path for city in cities for path in images_in(city)]
        images = [path for path in found if path.stem.endswith(tail)]
        if not images:
            raise DataError(f"no image in '{folder}/<city>' is called '<id>{tail}.png'.{unpack_hint(folder)} "
                            f"{_densities(found)}")
        return [(path.stem.removesuffix(tail), path) for path in images]

    def _images(self, split: str) -> tuple[Path, str]:
        """Return the folder of a split's images and the ending of their names."""
        remedy = "The cityscapes reader expects <root>/<domain>/leftImg8bit/<split>/<city>; correct data.splits or root"
        if self.options.beta is None:
            return need_folder(self.place.folder / "leftImg8bit" / split, remedy), "_leftImg8bit"
        foggy = [self.place.folder / name / split for name in ("leftImg8bit_foggy", "leftImg8bit_foggyDBF")]
        folder = next((path for path in foggy if path.is_dir()), foggy[0])
        return need_folder(folder, remedy), f"_leftImg8bit_foggy_beta_{self.options.beta:g}"

    def _sample(self, split: str, image: Path, name: str) -> RawSample:
        truth = self.place.folder / "gtFine" / split / image.parent.name / f"{name}_gtFine"
        ids, train_ids = (truth.with_name(f"{truth.name}_{kind}.png") for kind in ("labelIds", "labelTrainIds"))
        indices, polygons = (truth.with_name(f"{truth.name}_{kind}") for kind in ("instanceIds.png", "polygons.json"))
        mask = first_file(train_ids, ids)
        if not mask and not is_there(indices) and not is_there(polygons):
            raise DataError(f"'{image}' has no ground truth: '{truth}_labelIds.png' is missing. {_GROUND_TRUTH}")
        objects, size, source = [], None, mask or truth
        if is_there(indices):
            objects, source = _instances(indices), indices
        elif is_there(polygons):
            (objects, size), source = _polygons(polygons), polygons
        return RawSample(image, source, objects, size, mask, "train_ids" if mask == train_ids else "cityscapes_ids",
                         indices if is_there(indices) else None)


def _densities(images: list[Path]) -> str:
    found = sorted({match[1] for path in images if (match := re.search(r"_beta_([\d.]+)$", path.stem))})
    return f"There are the fog densities {', '.join(found)}: set data.options.beta" if found else \
        "Restore the names, or correct data.root"


def _instances(path: Path) -> list[RawObject]:
    """Return the objects of an instance map: label id * 1000 + number, or only the label id for a group."""
    values = read_index_map(path)
    present = [value for value in values_in(values) if (value // 1000 if value >= 1000 else value) in THINGS]
    return [RawObject(THINGS[value // 1000 if value >= 1000 else value], box, value < 1000, value)
            for value, box in zip(present, extents(values, present), strict=True)]


def _polygons(path: Path) -> tuple[list[RawObject], tuple[int, int]]:
    """Return the objects of a polygon file (boxes include the outline) and the size of its image."""
    content: Any = read_json(path, _GROUND_TRUTH)
    objects = []
    with expected_form(path, "a Cityscapes annotation with imgWidth, imgHeight and objects"):
        size = int(content["imgWidth"]), int(content["imgHeight"])
        for item in content["objects"]:
            name, group = str(item["label"]).removesuffix("group"), str(item["label"]).endswith("group")
            if name in THINGS.values() and not flag(item.get("deleted")):
                xs, ys = ([float(point[axis]) for point in item["polygon"]] for axis in (0, 1))
                box = max(min(xs), 0.0), max(min(ys), 0.0), min(max(xs) + 1, size[0]), min(max(ys) + 1, size[1])
                objects.append(RawObject(name, box, group))
    return objects, size
