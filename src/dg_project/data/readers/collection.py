"""Read the samples of a reader into a manifest, with checks of every image and annotation."""

from __future__ import annotations

import hashlib
import io
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from dg_project.config import SEMANTIC_CLASSES
from dg_project.core.errors import DataError, nearest
from dg_project.core.files import inside
from dg_project.data.drawing import shows_one_class, shuffled, spread
from dg_project.data.images import AS_STORED, BROKEN, DEEP, FORMATS, broken, odd_pixels, orientation, pixel_format
from dg_project.data.instances import check_indices, read_index_map
from dg_project.data.manifest import COLUMNS, ORIGIN_COLUMNS, check_boxes, sound_boxes, validate_manifest
from dg_project.data.masks import MAP, class_pixels, read_mask
from dg_project.data.origin import labels_hash, names_as_text
from dg_project.data.readers.base import Listing, Place, RawObject, RawSample, Reader, Sample
from dg_project.data.readers.folders import in_share, plain, split_share, unpack_hint, within
from dg_project.data.readers.leftovers import left_aside
from dg_project.data.readers.noticed import Noticed, check_box_units, missing_masks

logger = logging.getLogger(__name__)

CHUNK = 512
"""Rows that are converted to columns together; dicts need many times the memory."""
IN_FLIGHT = 256
"""Maximum number of samples queued for the threads."""


class Read(NamedTuple):
    """A checked sample.

    Attributes:
        row: its manifest row.
        left_out: classes of skipped boxes.
        rotated: whether EXIF rotates its image.
        odd: what is special about its pixels, or ''.
        stored: (256,) pixels of each id of its mask, or None.
    """

    row: dict[str, Any]
    left_out: list[str]
    rotated: bool
    odd: str = ""
    stored: np.ndarray | None = None


@dataclass(frozen=True)
class Rules:
    """Rules for turning raw samples into manifest rows.

    Attributes:
        classes: class names; their order gives the labels 1..C.
        rename: class name of the data set -> ours.
        ignore_classes: classes whose boxes are ignored, named as after ``rename``.
        other_classes: ``stop`` at boxes of other classes, or ``ignore`` them.
        on_bad_sample: ``stop`` at a broken sample, or ``skip`` and count it.
        limits: our split name -> read only n images, spread over the folders of the list.
        in_order: limits take the first n, as a dry run does, which only looks at some.
        mask_classes: names of the train ids of masks.
        split_seed: random seed of the shares of splits (``train[:90%]``).
        expected_counts: our split name -> required number of listed images.
    """

    classes: list[str]
    rename: dict[str, str] = field(default_factory=dict)
    ignore_classes: list[str] = field(default_factory=list)
    other_classes: Literal["stop", "ignore"] = "stop"
    on_bad_sample: Literal["stop", "skip"] = "stop"
    limits: dict[str, int] = field(default_factory=dict)
    in_order: bool = False
    mask_classes: Sequence[str] = SEMANTIC_CLASSES
    split_seed: int = 0
    expected_counts: dict[str, int] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, int]:
        """Class name -> label in the manifest: 1..C, and -1, -2, ... for ignored classes."""
        return {name: label for label, name in enumerate(self.classes, start=1)} | \
            {name: -k for k, name in enumerate(self.ignore_classes, start=1)}


def collect(reader: Reader, role: str, splits: dict[str, str], rules: Rules) -> tuple[pd.DataFrame, list[str]]:
    """Read the splits of one domain into a checked manifest; see ``readers.read_domain``."""
    place = reader.place
    parts: list[pd.DataFrame] = []
    skipped: list[str] = []
    warnings: list[str] = []
    for split, stored_as in splits.items():
        where = f"{place.domain}/{split}"
        samples = _listed(reader, split, stored_as, rules, skipped, warnings)
        part, noticed = _part(samples, rules.limits.get(split, len(samples)), place, rules, skipped, where)
        if part.empty:
            raise DataError(f"every image of the split '{stored_as}' of '{place.domain}' was skipped; the first "
                            f"reason: {skipped[0]}")
        check_box_units(part, where)
        if split not in rules.limits:  # a few images may show nothing
            noticed.check_masks(part)
        warnings += noticed.messages()
        parts.append(part.assign(role=role, split=split))
    manifest = pd.concat(parts, ignore_index=True)
    warnings += missing_masks(manifest, place.domain)
    manifest.attrs = {"warnings": list(dict.fromkeys(warnings)),
                      "left_aside": left_aside((place.root / name for name in manifest["image"]), place.domain)}
    return validate_manifest(manifest, rules.classes, f"the domain '{place.domain}'"), skipped


def _part(samples: list[Sample], limit: int, place: Place, rules: Rules, skipped: list[str],
          where: str) -> tuple[pd.DataFrame, Noticed]:
    """Read ``limit`` samples of a split, which are drawn again if the list turns out to be sorted by class."""
    noticed = Noticed(where)
    part = _read(samples[:limit] if rules.in_order else _limited(samples, limit), place, rules, skipped, noticed)
    if limit >= len(samples) or rules.in_order or len(rules.classes) == 1 or not shows_one_class(part):
        return part, noticed
    noticed = Noticed(where)
    return _read(shuffled(samples, limit), place, rules, skipped, noticed), noticed


def _read(samples: list[Sample], place: Place, rules: Rules, skipped: list[str], noticed: Noticed) -> pd.DataFrame:
    """Read samples into rows, without role and split."""
    good = _attempt(partial(_row, place, rules), samples, rules, skipped, noticed)
    chunks: list[pd.DataFrame] = [pd.DataFrame(columns=[*COLUMNS, *ORIGIN_COLUMNS])]
    while rows := list(islice(good, CHUNK)):
        chunks.append(pd.DataFrame(rows, columns=[*COLUMNS, *ORIGIN_COLUMNS]))
    return pd.concat(chunks[min(1, len(chunks) - 1):], ignore_index=True)


def _limited(samples: list[Sample], limit: int) -> list[Sample]:
    """Return ``limit`` samples, spread over the folders in their ids."""
    ids = [image_id for image_id, _ in samples]
    return [samples[k] for k in spread(ids, [image_id.rpartition("/")[0] for image_id in ids], limit)]


def count(reader: Reader, splits: dict[str, str], rules: Rules) -> dict[str, int]:
    """Return how many images each split lists; see ``readers.count_domain``."""
    return {split: len(_listed(reader, split, stored_as, rules, [], [])) for split, stored_as in splits.items()}


def _listed(reader: Reader, split: str, stored_as: str, rules: Rules, skipped: list[str],
            warnings: list[str]) -> list[Sample]:
    """Return the samples of a split or a share of it, each image id once."""
    place = reader.place
    name, first, last = split_share(stored_as)
    listing = reader.read(name)
    warnings += listing.warnings
    _check_classes(listing, place, rules)
    chosen = in_share([image_id for image_id, _ in listing.samples], first, last, rules.split_seed)
    samples = [sample for sample, keep in zip(listing.samples, chosen, strict=True) if keep]
    if not samples:
        raise DataError(f"the split '{stored_as}' of the domain '{place.domain}' is empty below '{place.folder}'."
                        f"{unpack_hint(place.folder)} Fill its list of images or change data.splits")
    expected = rules.expected_counts.get(split)
    if expected not in (None, len(samples)):
        raise DataError(f"{place.domain}/{split}: '{stored_as}' below '{place.folder}' lists {len(samples)} images, "
                        f"but data.expected_counts says {expected}: it is another split or version of the data set, or "
                        "files are missing; correct data.splits, the files or the number")
    return _each_once(samples, place, rules, skipped)


def _check_classes(listing: Listing, place: Place, rules: Rules) -> None:
    """Check all class names at once, for one message instead of one per unknown class."""
    unknown = [name for name in listing.classes if rules.rename.get(plain(name), plain(name)) not in rules.labels]
    if unknown and rules.other_classes == "stop":
        raise DataError(f"{place.folder}: the classes {', '.join(map(repr, unknown))} are not in data.classes; "
                        f"{_class_remedy(unknown[0], rules)}. All classes of the data set: "
                        f"[{', '.join(listing.classes)}]")


def _class_remedy(name: str, rules: Rules) -> str:
    return (f"add them there, map them with data.rename ({{'{name}': '{rules.classes[0]}'}}), name them in "
            "data.ignore_classes, or skip their boxes with data.other_classes: ignore")


def _each_once(samples: list[Sample], place: Place, rules: Rules, skipped: list[str]) -> list[Sample]:
    seen: dict[str, Callable[[], RawSample]] = {}
    for image_id, read in samples:
        if image_id in seen:
            problem = (f"{place.folder}: the image id '{image_id}' comes twice in the domain '{place.domain}'; rename "
                       "or remove one of the images, or its second line in the list")
            if rules.on_bad_sample == "stop":
                raise DataError(problem)
            skipped.append(problem)
        seen.setdefault(image_id, read)
    return list(seen.items())


def _attempt(read: Callable[[Sample], Read], samples: list[Sample], rules: Rules,
             skipped: list[str], noticed: Noticed) -> Iterator[dict[str, Any]]:
    """Read all samples in threads and yield their rows in order; a bad one stops, or is appended to ``skipped``."""
    def outcome(sample: Sample) -> Read | DataError:
        try:
            return read(sample)
        except DataError as error:
            return error

    title = noticed.where
    left_out: Counter[str] = Counter()
    rotated: list[str] = []
    pool = ThreadPoolExecutor()
    try:
        results = _in_order(pool, outcome, samples)
        for result in tqdm(results, title, len(samples), unit="image", leave=False, mininterval=1):
            if not isinstance(result, DataError):
                noticed.add(result.row["image"], result.odd, result.row["mask_ids"], result.stored)
                left_out.update(result.left_out)
                if result.rotated:
                    rotated.append(result.row["image"])
                yield result.row
            elif rules.on_bad_sample == "skip":
                skipped.append(str(result))
            else:
                raise DataError(f"{result} (data.on_bad_sample: skip skips and counts such samples)")
    finally:
        pool.shutdown(cancel_futures=True)
    if left_out:
        logger.info("%s: boxes skipped (data.other_classes: ignore): %s", title,
                    ", ".join(f"{count} {name}" for name, count in left_out.most_common()))
    if rotated:
        logger.warning("%s: viewers rotate %d images, such as '%s', by their EXIF orientation. They are read as "
                       "stored, so labels that were drawn on rotated images do not fit: rotate the pixels first (EXIF "
                       "in docs/add_a_dataset.md)", title, len(rotated), rotated[0])


def _in_order(pool: ThreadPoolExecutor, function: Callable[[Sample], Any], samples: Iterable[Sample]) -> Iterator[Any]:
    """Like ``pool.map``, but with a bounded number of futures instead of one per sample."""
    waiting: deque[Future[Any]] = deque()
    for sample in samples:
        waiting.append(pool.submit(function, sample))
        if len(waiting) == IN_FLIGHT:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _row(place: Place, rules: Rules, sample: Sample) -> Read:
    """Check one sample and return its manifest row."""
    image_id, read = sample
    raw = read()
    image = _relative(place.root, raw.image)
    (width, height), digest, rotated, odd, pixels = decode_fully(raw.image)
    if raw.size not in (None, (width, height)):
        other = "the image as rotated by its EXIF orientation; rotate the pixels" \
            if rotated and raw.size == (height, width) else "another image or to the image before resizing"
        raise DataError(f"{raw.annotation}: it states the size {raw.size}, but '{raw.image}' is {width}x{height}; the "
                        f"annotation belongs to {other}")
    objects, left_out = _known_objects(raw, rules)
    boxes = np.asarray([within(item.box, (width, height)) for item in objects], float).reshape(-1, 4)
    for k in np.flatnonzero(~sound_boxes(boxes, width, height)):
        stated = objects[k].stated
        check_boxes(boxes[k][None], width, height, f"{raw.annotation}{stated and ': ' + stated}")
    columns, stored = _masks(place.root, raw, objects, (width, height), rules)
    return Read({
        "image_id": image_id, "domain": place.domain, "image": image, "width": width, "height": height,
        "boxes": boxes.tolist(), "labels": [rules.labels[item.name] for item in objects],
        "difficult": [item.difficult for item in objects], "sha256": digest,
        "classes": names_as_text(rules.classes), "pixel_format": pixels, **columns,
    }, left_out, rotated, odd, stored)


def _known_objects(raw: RawSample, rules: Rules) -> tuple[list[RawObject], list[str]]:
    """Return the objects of known classes, renamed, and the class names of the others.

    Objects of ignored classes become difficult: like these they enter no loss and no score.
    """
    objects, others = [], []
    for item in raw.objects:
        name = rules.rename.get(plain(item.name), plain(item.name))
        if name in rules.classes:
            objects.append(replace(item, name=name))
        elif name in rules.ignore_classes:
            objects.append(replace(item, name=name, difficult=True))
        elif rules.other_classes == "ignore":
            others.append(item.name)
        else:
            raise DataError(f"{raw.annotation}: unknown class '{item.name}'.{nearest(item.name, rules.labels)} Fix "
                            f"the annotation, or if data.classes lacks the class, {_class_remedy(item.name, rules)}")
    return objects, others


def _masks(root: Path, raw: RawSample, objects: list[RawObject], size: tuple[int, int],
           rules: Rules) -> tuple[dict[str, Any], np.ndarray | None]:
    """Check the semantic mask and the index map, including their size.

    Returns:
        Their columns, and how many pixels hold each stored id of the mask.
    """
    ids = [item.instance for item in objects if item.instance is not None]
    files = [path for path in (raw.mask, raw.instances) if path]
    pixels: list[int] = []
    stored = None
    if raw.mask:
        mask, stored = read_mask(raw.mask, raw.mask_ids, size)
        pixels = class_pixels(mask, raw.mask_ids, stored)
    if raw.instances and raw.instances.suffix.lower() != ".json":
        needed = [item.instance for item in objects if item.instance is not None and not item.difficult]
        check_indices(raw.instances, read_index_map(raw.instances, size), needed)
    named = rules.mask_classes if raw.mask_ids.startswith(MAP) else SEMANTIC_CLASSES
    return {"mask": _relative(root, raw.mask) if raw.mask else "", "mask_ids": raw.mask_ids if raw.mask else "",
            "mask_pixels": pixels, "mask_classes": names_as_text(named) if raw.mask else "",
            "instances": _relative(root, raw.instances) if raw.instances else "",
            "instance_ids": ids if raw.instances else [],
            "labels_sha256": labels_hash(files)}, stored


def _relative(root: Path, path: Path) -> str:
    """Return a path relative to the root, checked to be below it."""
    relative = path.relative_to(root).as_posix()
    inside(root, relative)
    return relative


class Decoded(NamedTuple):
    """What decoding an image completely says about it.

    Attributes:
        size: (width, height) as stored.
        sha256: hash of the file.
        rotated: whether its EXIF orientation rotates it.
        odd: what is odd about its pixels (see ``images.odd_pixels``).
        pixel_format: its channels and depth.
    """

    size: tuple[int, int]
    sha256: str
    rotated: bool
    odd: str
    pixel_format: str


def decode_fully(path: Path) -> Decoded:
    """Decode an image completely to check it.

    Raises:
        DataError: the file is missing, truncated or not an image, or its pixels have no known range.
    """
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.verify()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            rotated = orientation(image) != AS_STORED
            size, mode, odd = image.size, image.mode, odd_pixels(image)
    except BROKEN as error:
        raise broken(path, error) from error
    if content[:4] == b"\x89PNG" and content[24] == 16:
        odd = DEEP
    return Decoded(size, hashlib.sha256(content).hexdigest(), rotated, odd, pixel_format(mode, odd == DEEP))
