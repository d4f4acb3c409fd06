"""COCO: one JSON per split, boxes with polygons or run lengths."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from dg_project.config import Params
from dg_project.core.errors import DataError
from dg_project.core.files import inside
from dg_project.data.instances import usable
from dg_project.data.origin import labels_hash
from dg_project.data.readers.base import Listing, RawObject, RawSample, Reader
from dg_project.data.readers.flags import flag
from dg_project.data.readers.folders import (
    expected_form,
    image_size,
    need_folder,
    read_json,
    stored,
    unpack_hint,
    within,
)
from dg_project.data.readers.leftovers import without_image

Item = dict[str, Any]
LOOKED_FOR = 16
"""Images that are looked for before all are called missing."""


class COCOReader(Reader):
    """Reads ``annotations/instances_<split>.json`` and ``<split>/``; crowds are difficult."""

    class Options(Params):
        """Paths below the domain's folder; ``{split}`` is replaced by the split's name."""

        annotations: str = Field("annotations/instances_{split}.json", description="JSON file of a split")
        images: str = Field("{split}", description="folder that the JSON's file names are relative to")

    options: Options

    def read(self, split: str) -> Listing:
        """List the images of the split's JSON file, in its order."""
        path = inside(self.place.folder, self.options.annotations.replace("{split}", split))
        images = self.options.images.replace("{split}", split)
        need_folder(path.parent, "The coco reader looks there for its JSON; correct data.options.annotations")
        need_folder(self.place.folder / images, "The coco reader looks there for images; correct data.options.images")
        content = _Content(path, split)
        samples = []
        for item in content.images:
            name = PurePosixPath(images) / item["file_name"]
            read = partial(content.sample, self.place.folder, str(name), item)
            with expected_form(path, f"a COCO annotation at the image '{name}'"):
                samples.append((name.with_suffix("").as_posix(), read))
        listed = sorted({str(PurePosixPath(images) / item["file_name"]) for item in content.images})
        looked_for = [stored(found) for name in listed[:LOOKED_FOR] if (found := self._image(name)) is not None]
        if looked_for and not any(map(os.path.isfile, looked_for)):
            first = looked_for[0]
            raise DataError(f"the image '{first}' of '{path}' is missing, and so are the others: data.options.images "
                            f"names the folder that file names start from (here '{images}'); {_hint(first, images)}")
        return Listing(samples, content.used_classes, content.warnings)

    def _image(self, name: str) -> Path | None:
        """Return the path of an image, or None for a name that its sample will refuse."""
        try:
            return inside(self.place.folder, name)
        except DataError:
            return None


class _Content:
    """The parsed JSON file, its annotations by image."""

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        files = ", ".join(sorted(f"'{entry.name}'" for entry in path.parent.glob("*.json"))) or "no JSON files there"
        content = read_json(path, f"there are {files}.{unpack_hint(path.parent)} Correct the split '{split}' in "
                                  "data.splits, or data.options.annotations")
        with expected_form(path, "a COCO annotation with images, annotations and categories"):
            self.images: list[Item] = [{**item, "id": int(item["id"]), "file_name": str(item["file_name"])}
                                       for item in content["images"]]
            self.names: dict[int, str] = {}
            for item in content["categories"]:
                name = self.names.setdefault(int(item["id"]), str(item["name"]))
                if name != str(item["name"]):
                    raise DataError(f"{path}: the category id {int(item['id'])} is both '{name}' and '{item['name']}'; "
                                    "give every category its own id, and correct the annotations")
            self.annotations: dict[int, list[Item]] = defaultdict(list)
            for item in content["annotations"]:
                self.annotations[int(item["image_id"])].append(item)
            self.image_ids = Counter(item["id"] for item in self.images)
            used = {item.get("category_id") for item in content["annotations"]}
            # Instance masks are looked up by annotation id, so ids must be unique.
            self.has_masks = len({item.get("id") for item in content["annotations"]}) == len(content["annotations"])
        if self.has_masks:
            labels_hash([path])  # once, before threads ask for it
        self.warnings = without_image(
            [str(key) for key, items in self.annotations.items() for _ in items], [str(key) for key in self.image_ids],
            "annotations", path, "'images' has no such id: take the images and annotations of one version of the file")
        self.used_classes = [name for key, name in self.names.items() if key in used]

    def sample(self, folder: Path, name: str, item: Item) -> RawSample:
        if self.image_ids[item["id"]] > 1:
            raise DataError(f"{self.path}: the image '{name}' shares its id {item['id']} with another image, so its "
                            "annotations are ambiguous; give every image its own id")
        image = stored(inside(folder, name))
        if not image.is_file():
            raise DataError(f"the image '{image}' of '{self.path}' is missing; restore it, or correct "
                            "data.options.images")
        size, annotations = image_size(image), self.annotations.get(item["id"], [])
        with expected_form(self.path, f"a COCO annotation at the image '{name}'"):
            objects = [self._object(annotation, size) for annotation in annotations]
            stated = (int(item["width"]), int(item["height"])) if item.get("width") and item.get("height") else None
            drawn = [usable(annotation.get("segmentation"), size) for annotation in annotations]
        masks = self.path if self.has_masks and drawn and all(drawn) else None
        return RawSample(image, self.path, objects, stated, instances=masks)

    def _object(self, annotation: Item, size: tuple[int, int]) -> RawObject:
        number, category = annotation.get("id"), int(annotation["category_id"])
        if category not in self.names:
            raise DataError(f"{self.path}: the annotation {number} has the category {category}, but the categories are "
                            f"{sorted(self.names)}; fix the annotation or add the category")
        x, y, width, height = (float(value) for value in annotation["bbox"])
        return RawObject(self.names[category], within((x, y, x + width, y + height), size),
                         flag(annotation.get("iscrowd")), int(number or 0),
                         f"the annotation {number} ('{self.names[category]}', bbox {annotation['bbox']})")


def _hint(image: Path, images: str) -> str:
    """Return where the images seem to be."""
    above = next((folder for folder in (image.parent, *image.parents) if folder.is_dir()), image.parent)
    found = next((path for path in sorted(above.rglob("*")) if path.name == image.name and path.is_file()), None)
    return f"there is a '{found}'" if found else f"there is no '{image.name}' below '{above}'"
