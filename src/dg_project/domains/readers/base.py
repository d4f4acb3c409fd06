"""What every reader shares: an image and its annotation are checked before anything is trained on them."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from dg_project.domains.manifest import COLUMNS, check_boxes, validate_manifest
from dg_project.errors import DataError, nearest


@dataclass(frozen=True)
class RawObject:
    """One annotated object: class name, box [x0, y0, x1, y1] (0-based, exclusive maximum), difficult flag."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class RawSample:
    """One image with its annotation as the data set states it, nothing checked yet.

    Attributes:
        image: path of the image.
        annotation: path of the file that the objects come from; error messages name it.
        objects: annotated objects.
        size: (width, height) that the annotation states, if it does.
        mask: path of the semantic mask, or None.
        instances: path of the map of object numbers, or None.
    """

    image: Path
    annotation: Path
    objects: list[RawObject] = field(default_factory=list)
    size: tuple[int, int] | None = None
    mask: Path | None = None
    instances: Path | None = None


class Reader(Protocol):
    """A layout on disk: which images a split holds, and what is annotated in one of them."""

    def ids(self, root: Path, domain: str, split: str) -> list[str]:
        """Return the image ids of a split, in the data set's order; ``DataError`` when a folder or list is missing."""
        ...

    def sample(self, root: Path, domain: str, image_id: str) -> RawSample:
        """Return one image's annotation; ``DataError`` when the image or annotation is missing or unreadable."""
        ...


def collect(reader: Reader, root: Path, domain: str, role: str, splits: dict[str, str], classes: list[str],
            on_bad_sample: Literal["stop", "skip"], limits: dict[str, int]) -> tuple[pd.DataFrame, list[str]]:
    """Read the splits of one domain into a checked manifest; see ``readers.read_domain``."""
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for split, stored_as in splits.items():
        ids = reader.ids(root, domain, stored_as)
        if not ids:
            raise DataError(f"the split '{stored_as}' of the domain '{domain}' is empty below '{root}'; "
                            "fill its list of images or change data.splits")
        read = partial(_row, reader, root, domain, classes)
        good = _attempt(read, ids[: limits.get(split)], on_bad_sample, skipped, f"{domain}/{split}")
        if not good:
            raise DataError(f"every image of the split '{stored_as}' of '{domain}' was skipped; the first reason: "
                            f"{skipped[0]}")
        rows += [{**row, "role": role, "split": split} for row in good]
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    return validate_manifest(manifest, classes, f"the domain '{domain}'"), skipped


def _attempt(read: Callable[[str], dict[str, Any]], ids: list[str], on_bad_sample: str, skipped: list[str],
             title: str) -> list[dict[str, Any]]:
    """Read all ids side by side, in order; a bad sample stops, or is appended to ``skipped``."""
    def outcome(image_id: str) -> dict[str, Any] | DataError:
        try:
            return read(image_id)
        except DataError as error:
            return error

    good: list[dict[str, Any]] = []
    pool = ThreadPoolExecutor()
    try:
        for result in tqdm(pool.map(outcome, ids), title, len(ids), unit="image", leave=False, mininterval=1):
            if isinstance(result, dict):
                good.append(result)
            elif on_bad_sample == "skip":
                skipped.append(str(result))
            else:
                raise DataError(f"{result}\n  (data.on_bad_sample: skip leaves such samples out and counts them)")
    finally:
        pool.shutdown(cancel_futures=True)
    return good


def _row(reader: Reader, root: Path, domain: str, classes: list[str], image_id: str) -> dict[str, Any]:
    """Check one sample and return its manifest row."""
    sample = reader.sample(root, domain, image_id)
    (width, height), digest = decode_fully(sample.image)
    if sample.size not in (None, (width, height)):
        raise DataError(f"{sample.annotation}: it states the size {sample.size}, but '{sample.image}' is "
                        f"{width}x{height}; the annotation belongs to another image or to one before resizing")
    for item in sample.objects:
        if item.name not in classes:
            raise DataError(f"{sample.annotation}: unknown class '{item.name}'.{nearest(item.name, classes)} "
                            "Mend the annotation or add the class to data.classes")
    boxes = np.asarray([item.box for item in sample.objects], float).reshape(-1, 4)
    check_boxes(boxes, width, height, str(sample.annotation))
    return {
        "image_id": image_id, "domain": domain, "image": sample.image.relative_to(root).as_posix(),
        "width": width, "height": height, "boxes": boxes.tolist(),
        "labels": [classes.index(item.name) + 1 for item in sample.objects],
        "difficult": [item.difficult for item in sample.objects],
        "mask": _relative(sample.mask, root), "instances": _relative(sample.instances, root), "sha256": digest,
    }


def _relative(path: Path | None, root: Path) -> str:
    return path.relative_to(root).as_posix() if path else ""


def decode_fully(path: Path) -> tuple[tuple[int, int], str]:
    """Decode every pixel of an image once and return ((width, height), sha256 of the file).

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            size = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: it is truncated or no image ({error}); restore the file") from error
    return size, hashlib.sha256(content).hexdigest()


def number(text: str | None) -> float:
    """Return a number that stands in an annotation; NaN, which no check lets pass, when it is none."""
    try:
        return float(text or "")
    except ValueError:
        return math.nan
