"""What a reader is: a layout on disk that lists its images, and what is annotated in each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dg_project.core.errors import DataError
from dg_project.config import Params

from functools import partial



@dataclass(frozen=True)
class RawObject:
    """One annotated object.

    Attributes:
        name: class name as the data set has it.
        box: [x0, y0, x1, y1] in pixels, 0-based, exclusive maximum.
        difficult: kept out of losses and scores (crowds, too).
        instance: its value in the index map, or the id of its COCO annotation; None without instance masks.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False
    instance: int | None = None


@dataclass(frozen=True)
class RawSample:
    """One image with its annotation as the data set states it, nothing checked yet.

    Attributes:
        image: path of the image.
        annotation: path of the file that the objects come from; error messages name it.
        objects: annotated objects.
        size: (width, height) that the annotation states, if it does.
        mask: path of the semantic mask, or None.
        mask_ids: how the mask stores its classes, a name in ``domains.masks.ENCODINGS``.
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
"""Id of an image, unique in its domain, and a function that reads its annotation.

The function raises ``DataError`` when image or annotation are missing or unreadable.
"""


@dataclass(frozen=True)
class Listing:
    """What a split holds: its samples in the data set's order, and all class names where the layout lists them."""

    samples: Sequence[Sample]
    classes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where a domain lies: its name, its folder, and the data root above it."""

    domain: str
    folder: Path
    root: Path


class Reader(ABC):
    """A layout on disk. ``Options`` are its entries of ``data.options``."""

    class Options(Params):
        """No options."""

    def __init__(self, place: Place, options: Any) -> None:
        self.place, self.options = place, options

    @abstractmethod
    def read(self, split: str) -> Listing:
        """List a split; ``DataError`` when a folder, list or annotation file is missing or unreadable."""

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the image ids of a split with their files, without opening an annotation.

        Raises:
            DataError: a folder or list is missing, or this layout lists its images in the annotations alone.
        """
        raise DataError(f"'{self.place.folder}': this reader finds the images of a split in their annotations, which "
                        "adaptation must not open; list the images in the layout of the voc reader, which needs no "
                        "annotation for data.adapt_split")


class Unlabelled(Reader):
    """The images of another reader. No annotation is opened, so there need not be any."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.place, reader.options)
        self.reader = reader

    def read(self, split: str) -> Listing:
        """List the images of a split; nothing is annotated in them."""
        return Listing([(image_id, partial(RawSample, path, path)) for image_id, path in self.reader.images(split)])
