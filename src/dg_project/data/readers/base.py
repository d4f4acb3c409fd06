"""Base class of readers, and the raw samples that they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dg_project.config import Params
from dg_project.core.errors import DataError


@dataclass(frozen=True)
class RawObject:
    """One annotated object.

    Attributes:
        name: class name in the data set.
        box: [x0, y0, x1, y1] in pixels, 0-based, exclusive maximum.
        difficult: excluded from losses and scores (crowds too).
        instance: value in the index map, or id of the COCO annotation; None without instance masks.
        stated: the object and its box in the words of its file, for error messages.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False
    instance: int | None = None
    stated: str = ""


@dataclass(frozen=True)
class RawSample:
    """One image with its annotation as stored in the data set, unchecked.

    Attributes:
        image: path of the image.
        annotation: path of the annotation file, for error messages.
        objects: annotated objects.
        size: (width, height) according to the annotation, or None.
        mask: path of the semantic mask, or None.
        mask_ids: encoding of the mask, a name in ``data.masks.ENCODINGS``.
        instances: path of the index map or COCO file with the instance masks, or None.
    """

    image: Path
    annotation: Path
    objects: list[RawObject] = field(default_factory=list)
    size: tuple[int, int] | None = None
    mask: Path | None = None
    mask_ids: str = ""
    instances: Path | None = None


Sample = tuple[str, Callable[[], RawSample]]
"""Image id, unique in its domain, and a function that reads the annotation.

The function raises ``DataError`` if the image or annotation is missing or unreadable.
"""


@dataclass(frozen=True)
class Listing:
    """Samples of a split in the data set's order.

    Attributes:
        samples: the samples.
        classes: all class names, if the layout lists them.
        warnings: what was left over, see ``leftovers``.
    """

    samples: Sequence[Sample]
    classes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Location of a domain: its name, its folder and the data root above it."""

    domain: str
    folder: Path
    root: Path


class Reader(ABC):
    """Reader of a layout on disk; ``Options`` are its entries of ``data.options``."""

    class Options(Params):
        """No options."""

    def __init__(self, place: Place, options: Any) -> None:
        self.place, self.options = place, options

    @abstractmethod
    def read(self, split: str) -> Listing:
        """List a split.

        Raises:
            DataError: a folder, list or annotation file is missing or unreadable.
        """

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the image ids and files of a split without opening an annotation.

        Raises:
            DataError: a folder or list is missing, or this layout lists its images only in annotations.
        """
        raise DataError(f"'{self.place.folder}': this reader finds the images of a split in their annotations, which "
                        "adaptation must not open; list the images in the layout of the voc reader, which needs no "
                        "annotation for data.adapt_split")


class Unlabelled(Reader):
    """Images of another reader without annotations; no annotation file is opened or needed."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.place, reader.options)
        self.reader = reader

    def read(self, split: str) -> Listing:
        """List the images of a split, without objects."""
        return Listing([(image_id, partial(RawSample, path, path)) for image_id, path in self.reader.images(split)])
