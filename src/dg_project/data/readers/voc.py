"""Pascal VOC: ``<domain>/VOC2007/{JPEGImages,Annotations,ImageSets/Main}``, the layout of Diverse Weather."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from dg_project.config import Params
from dg_project.core.errors import DataError, nearest
from dg_project.core.files import inside
from dg_project.data.readers.base import Listing, RawObject, RawSample, Reader
from dg_project.data.readers.flags import flag
from dg_project.data.readers.folders import (
    by_stem,
    expected_form,
    first_file,
    images_in,
    need_folder,
    plain,
    read_text,
    stored,
    unpack_hint,
    without_ending,
)
from dg_project.data.readers.leftovers import names_in, without_image

_MEMBERSHIP = re.compile(r"\s+(-1|0|1)$")
"""Lists of a class state after every image whether it shows the class; image names may end in a number too."""


class VOCReader(Reader):
    """Reads XML annotations; their boxes are 1-based and include the last pixel."""

    class Options(Params):
        """Folder of the data set, and encoding of its masks."""

        year: str = Field("VOC2007", description="folder in the domain's folder; '.' is the domain's folder itself")
        mask_ids: Literal["train_ids", "voc"] = Field("train_ids", description="voc: the 20 classes of Pascal VOC")

    options: Options

    def read(self, split: str) -> Listing:
        """List ``ImageSets/Main/<split>.txt``."""
        folder, named = self._named(split, "JPEGImages", "Annotations", "ImageSets/Main")
        images = [path.stem for path in images_in(folder / "JPEGImages")]
        left = without_image(names_in(folder / "Annotations", ".xml"), images, "annotations", folder / "Annotations",
                             "restore the images", stop=False)
        return Listing([(image_id, partial(self._sample, folder, image_id, image)) for image_id, image in named],
                       warnings=left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images that ``ImageSets/Main/<split>.txt`` names."""
        folder, named = self._named(split, "JPEGImages", "ImageSets/Main")
        if missing := [image_id for image_id, image in named if image is None]:
            raise DataError(f"the split list '{folder / 'ImageSets' / 'Main' / split}.txt' names '{missing[0]}', which "
                            f"is not in '{folder / 'JPEGImages'}'; add the image or remove the line")
        return [(image_id, image) for image_id, image in named if image is not None]

    def _named(self, split: str, *needed: str) -> tuple[Path, list[tuple[str, Path | None]]]:
        """Return the folder of the data set, and the image ids of a split's list with their files, or None."""
        folder = inside(self.place.folder, self.options.year)
        for part in needed:
            need_folder(folder / part, "The voc reader expects <root>/<domain>/<year>/{JPEGImages,Annotations,"
                                       "ImageSets/Main}; data.options.year names the middle folder")
        listed = folder / "ImageSets" / "Main" / f"{split}.txt"
        if not listed.is_file():
            known = [path.stem for path in listed.parent.glob("*.txt")]
            raise DataError(f"the split list '{listed}' is missing.{nearest(split, known)} Add the list or change "
                            "data.splits")
        lines = read_text(listed, "add the list or change data.splits").splitlines()
        images = by_stem(images_in(folder / "JPEGImages"))
        if not images:
            raise DataError(f"there is no image in '{folder / 'JPEGImages'}'.{unpack_hint(folder / 'JPEGImages')} Put "
                            "the images there")
        names = [plain(line.strip()) for line in lines if line.strip()]
        ids = [name if name in images else _MEMBERSHIP.sub("", name) for name in names]
        ids = [name if name in images else without_ending(name) for name in ids]
        return folder, [(image_id, images.get(image_id)) for image_id in ids]

    def _sample(self, folder: Path, image_id: str, image: Path | None) -> RawSample:
        annotation = stored(inside(folder, f"Annotations/{image_id}.xml"))
        tree = _parse(annotation)
        named = (tree.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        if image is None:
            raise DataError(f"{annotation}: it names the image '{named or image_id}', which is not in "
                            f"'{folder / 'JPEGImages'}'; add the image or remove '{image_id}' from the split list")
        if named and image_id not in (plain(named), plain(named).rsplit(".", 1)[0]):
            raise DataError(f"{annotation}: it names the image '{named}', but is stored as '{image_id}'; correct or "
                            "delete its <filename>")
        _check_layout(tree, annotation)
        objects = [_object(item, k, annotation) for k, item in enumerate(tree.iterfind("object"), start=1)]
        return RawSample(image, annotation, objects, _size(tree),
                         first_file(folder / "SegmentationClass" / f"{image_id}.png"), self.options.mask_ids,
                         first_file(folder / "SegmentationObject" / f"{image_id}.png"))


def _parse(annotation: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(annotation).getroot()
    except FileNotFoundError:
        raise DataError(f"the annotation '{annotation}' is missing; add it or remove the image from the split "
                        "list") from None
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise DataError(f"{annotation}: it is not well-formed XML ({error}); restore the file") from error


def _check_layout(tree: ElementTree.Element, annotation: Path) -> None:
    """Raise ``DataError`` if there are boxes that are not in an ``<object>`` directly below the root."""
    objects = tree.findall("object")
    elements = _exactly if objects else _elements  # the latter is slow
    found, read = len(elements(tree, "bndbox")), sum(len(_exactly(item, "bndbox")) for item in objects)
    if found > read or len(elements(tree, "object")) > len(objects):
        raise DataError(f"{annotation}: {found - read} of its {found} boxes are not in an <object> directly below "
                        f"<{tree.tag}>, as in Pascal VOC; write it in that layout")


def _exactly(tree: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return list(tree.iter(tag))


def _elements(tree: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    """Return all elements of a tag, in any namespace and case."""
    return [item for item in tree.iter() if str(item.tag).rpartition("}")[2].lower() == tag]


def _object(item: ElementTree.Element, number: int, annotation: Path) -> RawObject:
    """Parse an object; its number in the file is its value in SegmentationObject."""
    name = (item.findtext("name") or "").strip()
    if (stated := item.find("bndbox")) is None:
        raise DataError(f"{annotation}: the object {number} ('{name}') has no <bndbox>; add its box, or remove it")
    corners = {key: (stated.findtext(key) or "").strip() for key in ("xmin", "ymin", "xmax", "ymax")}
    x0, y0, x1, y1 = map(_number, corners.values())
    # Some tools write 0-based boxes, against the format: a first pixel of 0 is read as 1.
    box = (x0 - 1 if x0 else 0.0, y0 - 1 if y0 else 0.0, x1, y1)
    with expected_form(annotation, f"a flag in <difficult> of the object {number}"):
        difficult = flag(item.findtext("difficult"))
    words = ", ".join(f"{key} {text or 'missing'}" for key, text in corners.items())
    return RawObject(name, box, difficult, number, f"the object {number} ('{name}', {words})")


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    width, height = _number(tree.findtext("size/width")), _number(tree.findtext("size/height"))
    return (int(width), int(height)) if 0 < width < math.inf and 0 < height < math.inf else None


def _number(text: str | None) -> float:
    """Parse a number; NaN, which fails every check, if it is not a number."""
    try:
        return float(text or "")
    except ValueError:
        return math.nan
