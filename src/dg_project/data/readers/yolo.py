"""YOLO: one text file per image, boxes relative to the image size; with a data.yaml or in plain folders."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import Field

from dg_project.config import Params
from dg_project.core.errors import DataError, nearest
from dg_project.core.files import inside
from dg_project.data.images import IMAGE_SUFFIXES
from dg_project.data.readers.base import Listing, RawObject, RawSample, Reader
from dg_project.data.readers.folders import (
    expected_form,
    first_file,
    image_size,
    is_there,
    need_folder,
    plain,
    read_text,
    stored,
    unpack_hint,
    within,
)
from dg_project.data.readers.leftovers import names_in, without_image

_LISTS = ("classes", "obj", "train", "val", "test")
"""Text files in a folder of labels that are no labels."""

_REMEDY = ("The yolo reader expects a data.yaml, or images/<split> and labels/<split> with a classes.txt; "
           "data.options.yaml names the YAML file")


class _Loader(yaml.SafeLoader):
    """Loads plain values; aliases are refused, because a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases (*name); write the values out")
        return super().compose_node(parent, index)


class YOLOReader(Reader):
    """Reads ``class cx cy w h`` (or ``class x1 y1 x2 y2 ...``, a polygon) per line; classes are 0-based.

    Images without a text file have no objects.
    """

    class Options(Params):
        """Description of the data set."""

        yaml: str = Field("data.yaml", description="optional file in the domain's folder with splits and class names")

    options: Options

    def read(self, split: str) -> Listing:
        """List the images of a split, below its folder or in its list."""
        described = self._description()
        names = self._names(described)
        images = self._all_images(described, split)
        if images and not any(_labels(image).parent.is_dir() for image in images):
            raise DataError(f"the folder '{_labels(images[0]).parent}' with the labels of '{images[0].parent}' is "
                            f"missing.{unpack_hint(self.place.folder)} Put it next to the folder of the images")
        keypoints = self._keypoints(described)
        return Listing([(self._id(image), partial(_sample, image, names, keypoints)) for image in images],
                       list(names.values()), _labels_without_image(images))

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images of a split; their text files are not opened."""
        return [(self._id(image), image) for image in self._all_images(self._description(), split)]

    def _all_images(self, described: dict[str, Any], split: str) -> list[Path]:
        return [image for place in self._places(described, split) for image in self._images(place)]

    def _description(self) -> dict[str, Any]:
        """Return the content of data.yaml, or {} if it is missing."""
        path = inside(self.place.folder, self.options.yaml)
        if not path.is_file():
            return {}
        try:
            content = yaml.load(read_text(path, _REMEDY), _Loader)  # noqa: S506 (a safe loader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: it is not well-formed YAML ({' '.join(str(error).split())}); restore the file"
                            ) from error
        with expected_form(path, "a description with the entries train, val and names"):
            return dict(content)

    def _names(self, described: dict[str, Any]) -> dict[int, str]:
        """Return class index -> name, from data.yaml or a list of names."""
        if names := described.get("names"):
            with expected_form(self.place.folder / self.options.yaml, "a list of names, or numbers with names"):
                numbered = names.items() if isinstance(names, dict) else enumerate(names)
                return {int(number): str(name) for number, name in numbered}
        path = first_file(*(self.place.folder / name for name in ("classes.txt", "obj.names", "classes.names")))
        if path is None:
            raise DataError(f"'{self.place.folder}' names no classes. {_REMEDY}")
        return dict(enumerate(line.strip() for line in read_text(path, _REMEDY).splitlines() if line.strip()))

    def _keypoints(self, described: dict[str, Any]) -> int | None:
        """Return how many numbers of keypoints follow each box, or None without keypoints."""
        path, shape = self.place.folder / self.options.yaml, described.get("kpt_shape")
        task = str(described.get("task") or ("pose" if shape else ""))
        if task not in ("", "detect", "segment", "pose"):
            raise DataError(f"{path}: its task is '{task}', and this reader reads detect, segment and pose; export the "
                            "data set as boxes")
        if task != "pose" and "flip_idx" not in described:
            return None
        with expected_form(path, "a description of keypoints with kpt_shape: [number, 2 or 3]"):
            number, each = (int(value) for value in shape or ())
            return number * each

    def _places(self, described: dict[str, Any], split: str) -> list[Path]:
        """Return the folders and lists of a split."""
        if described and not described.get(split):
            known = [key for key, value in described.items() if value and key in ("train", "val", "test", "minival")]
            raise DataError(f"'{self.place.folder / self.options.yaml}' names no split '{split}'."
                            f"{nearest(split, known)} Correct data.splits")
        if described:
            stated = described[split] if isinstance(described[split], list) else [described[split]]
            places = [self._find(str(entry), str(described.get("path") or ".")) for entry in stated]
        else:
            plain = [self.place.folder / "images" / split, self.place.folder / split / "images"]
            places = [place for place in plain if place.is_dir()][:1] or plain[:1]
        return [place if place.is_file() else need_folder(place, _REMEDY) for place in places]

    def _find(self, entry: str, path: str) -> Path:
        """Resolve an entry of data.yaml; its ``path`` may be of another machine, and exports begin with ``../``."""
        candidates = [self.place.folder / path / entry, self.place.folder / entry,
                      self.place.folder / entry.removeprefix("../")]
        found = next((place for place in candidates if os.path.exists(place)), candidates[1])
        return inside(self.place.folder, os.path.relpath(found, self.place.folder))

    def _images(self, place: Path) -> list[Path]:
        """Return the images below a folder or in a list."""
        if place.is_file():
            lines = [line.strip() for line in read_text(place, _REMEDY).splitlines()]
            return [self._listed(line, place) for line in lines if line]
        found = [Path(folder) / name for folder, _, names in os.walk(place) for name in names]
        return sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))

    def _listed(self, line: str, listed: Path) -> Path:
        """Resolve a line of a list: relative to the list, or from ``images/`` on for a path of another machine."""
        named = PurePosixPath(line.replace("\\", "/"))
        path = listed.parent / named
        if not os.path.exists(path) and "images" in named.parts:
            path = self.place.folder.joinpath(*named.parts[named.parts.index("images"):])
        return stored(inside(self.place.folder, os.path.relpath(path, self.place.folder)))

    def _id(self, image: Path) -> str:
        parts = image.relative_to(self.place.folder).with_suffix("").parts
        return "/".join(part for part in parts if part != "images")


def _labels(image: Path) -> Path:
    """Return the text file of an image: the last folder ``images`` of its path is replaced by ``labels``."""
    parts = list(image.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _sample(image: Path, names: dict[int, str], keypoints: int | None) -> RawSample:
    path, size = stored(_labels(image)), image_size(image)
    lines = read_text(path, _REMEDY).splitlines() if is_there(path) else []
    return RawSample(image, path, [_object(path, number, line, names, size, keypoints)
                                   for number, line in enumerate(lines, start=1) if line.strip()])


def _labels_without_image(images: list[Path]) -> list[str]:
    """Return a message for text files whose image is missing; stop if no image has a text file because of them."""
    warnings, folders = [], dict.fromkeys((image.parent, _labels(image).parent) for image in images)
    labelled = sum(stored(_labels(image)).is_file() for image in images)
    for pictures, labels in folders:
        names = [name for name in names_in(labels, ".txt") if name not in _LISTS]
        stems = {plain(path.stem) for path in pictures.iterdir()}
        left = [name for name in names if name not in stems]
        if left and not labelled:
            raise DataError(f"{labels}: no image of '{pictures}' has a text file, and {len(left)} text files, such as "
                            f"'{left[0]}.txt', have no image; name each as its image, with the ending .txt alone")
        warnings += without_image(names, stems, "text files", labels, "name each as its image, with the ending .txt "
                                  "alone, or restore the images", stop=2 * labelled < len(images))
    return warnings


def _object(path: Path, number: int, line: str, names: dict[int, str], size: tuple[int, int],
            keypoints: int | None) -> RawObject:
    words = line.split()
    with expected_form(path, f"'class cx cy w h' in line {number}"):
        label, values = int(words[0]), [float(word) for word in words[1:]]
        if keypoints is not None:
            if len(values) != 4 + keypoints:
                raise ValueError(f"{len(words)} numbers, and kpt_shape asks for {5 + keypoints}")
            values = values[:4]
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise ValueError(f"{len(words)} numbers")
    if label not in names:
        raise DataError(f"{path}: line {number} has the class {label}, but the classes are {sorted(names)}; fix the "
                        "line or the list of names")
    if len(values) == 4:
        cx, cy, w, h = values
        x0, y0, x1, y1 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    else:
        x0, y0, x1, y1 = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    width, height = size
    return RawObject(names[label], within((x0 * width, y0 * height, x1 * width, y1 * height), size),
                     stated=f"line {number}, '{' '.join(words[:7])}'")
