"""Load semantic masks and convert the label ids or colours of each data set to train ids."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dg_project.config import SEMANTIC_CLASSES
from dg_project.core.errors import DataError, nearest
from dg_project.data.images import BROKEN, FORMATS, broken

IGNORE = 255
"""Train id of pixels that are excluded from losses and scores."""

FIRST_THING = 11
"""Train ids from here on (person, rider, vehicles) have instances and therefore boxes."""

COLOURS = ((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
           (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
           (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32))
"""RGB of every train id (Cityscapes colours)."""

IGNORED_COLOURS = ((0, 0, 0), (20, 20, 20), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140),
                   (180, 165, 180), (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110))
"""RGB of the labels without a train id: unlabelled, static, dynamic, ground, parking, rail track, ..."""

CITYSCAPES = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13,
              27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
"""Label id of Cityscapes and GTA5 -> train id."""

CITYSCAPES_LABELS = 35
"""Label ids are 0..34; license plates are unlabelled in Cityscapes and 34 in GTA5."""

SYNTHIA = {1: 10, 2: 2, 3: 0, 4: 1, 5: 4, 6: 8, 7: 5, 8: 13, 9: 7, 10: 11, 11: 18, 12: 17, 15: 6, 16: 9, 17: 12,
           18: 14, 19: 15, 20: 16, 21: 3}
"""Class of SYNTHIA-RAND-CITYSCAPES -> train id."""

SYNTHIA_LABELS = 23
"""Classes are 0 (void) .. 22 (lane marking)."""

MAPILLARY = {
    2: ("construction--barrier--curb", 1), 3: ("construction--barrier--fence", 4),
    6: ("construction--barrier--wall", 3), 13: ("construction--flat--road", 0),
    15: ("construction--flat--sidewalk", 1), 17: ("construction--structure--building", 2), 19: ("human--person", 11),
    20: ("human--rider--bicyclist", 12), 21: ("human--rider--motorcyclist", 12),
    22: ("human--rider--other-rider", 12), 24: ("marking--general", 0), 27: ("nature--sky", 10),
    29: ("nature--terrain", 9), 30: ("nature--vegetation", 8), 41: ("object--manhole", 0),
    45: ("object--support--pole", 5), 47: ("object--support--utility-pole", 5), 48: ("object--traffic-light", 6),
    50: ("object--traffic-sign--front", 7), 52: ("object--vehicle--bicycle", 18), 54: ("object--vehicle--bus", 15),
    55: ("object--vehicle--car", 13), 57: ("object--vehicle--motorcycle", 17), 58: ("object--vehicle--on-rails", 16),
    61: ("object--vehicle--truck", 14),
}
"""Label id of Mapillary Vistas v1.2 -> its name and its train id in the Cityscapes protocols."""

MAPILLARY_LABELS = 66
"""Label ids of v1.2 are 0..65; v2.0 has 124 labels with other ids."""

VOC = {2: 18, 6: 15, 7: 13, 14: 17, 15: 11, 19: 16}
"""Class of Pascal VOC (bicycle, bus, car, motorbike, person, train) -> train id."""

VOC_LABELS = 21
"""Classes are 0 (background) .. 20 (tv monitor)."""

LABEL_IDS = ("cityscapes_ids", "gta5")
"""Encodings whose ids are easily mixed up with train ids."""
LICENSE_PLATE = 34
"""Label id with the colour of cars."""

_OUTSIDE = 254
"""Marks stored ids that the encoding does not know; larger than any train id."""


@dataclass(frozen=True)
class Encoding:
    """How a data set stores its masks.

    Attributes:
        table: (256,) uint8, stored id -> train id; ``_OUTSIDE`` for unknown ids.
        colours: also read RGB images in Cityscapes colours.
        deep: also read 16-bit files, by their first channel.
        palette: colour of a palette entry -> its train id; a palette that says otherwise than the ids is refused.
    """

    table: np.ndarray
    colours: bool = False
    deep: bool = False
    palette: Mapping[tuple[int, ...], int] = field(default_factory=dict)


def _table(train_ids: dict[int, int], known: Iterable[int]) -> np.ndarray:
    table = np.full(256, _OUTSIDE, np.uint8)
    table[[*known, IGNORE]] = IGNORE
    table[list(train_ids)] = list(train_ids.values())
    return table


def _voc_palette() -> dict[tuple[int, ...], int]:
    """Return the palette of Pascal VOC: bit k of a channel is bit 3k (red), 3k + 1 or 3k + 2 of the class."""
    def colour(label: int) -> tuple[int, ...]:
        return tuple(sum((label >> (3 * k + channel) & 1) << (7 - k) for k in range(3)) for channel in range(3))

    return {colour(label): VOC.get(label, IGNORE) for label in range(1, VOC_LABELS)}


_CITYSCAPES_PALETTE: dict[tuple[int, ...], int] = {colour: train_id for train_id, colour in enumerate(COLOURS)}

ENCODINGS: dict[str, Encoding] = {
    "train_ids": Encoding(_table({i: i for i in range(len(SEMANTIC_CLASSES))}, []),
                          palette=_CITYSCAPES_PALETTE),
    "cityscapes_ids": Encoding(_table(CITYSCAPES, range(CITYSCAPES_LABELS)), palette=_CITYSCAPES_PALETTE),
    "gta5": Encoding(_table(CITYSCAPES, range(CITYSCAPES_LABELS)), colours=True, palette=_CITYSCAPES_PALETTE),
    "synthia": Encoding(_table(SYNTHIA, range(SYNTHIA_LABELS)), deep=True),
    "mapillary": Encoding(_table({i: train_id for i, (_, train_id) in MAPILLARY.items()},
                                 range(MAPILLARY_LABELS))),
    "voc": Encoding(_table(VOC, range(VOC_LABELS)), palette=_voc_palette()),
}
"""Encodings by name, as in the column ``mask_ids``; ``id_map`` makes further ones."""
MAP, SAME = "map:", "same"
"""Beginning of the name of an encoding that lists its ids, and the entry that keeps all other ids."""


def id_map(ids: Mapping[int, int], ignore: Iterable[int] = ()) -> str:
    """Return the name of the encoding of masks with other ids, such as ``map:0=0,1=1,11=255``.

    Args:
        ids: stored id -> train id; {}: stored ids are train ids.
        ignore: stored ids of pixels that are excluded from losses and scores.
    """
    pairs = {**ids, **dict.fromkeys(ignore, IGNORE)}.items()
    return MAP + ",".join([*([] if ids else [SAME]), *(f"{stored}={train}" for stored, train in pairs)])


@cache
def encoding(name: str) -> Encoding:
    """Return an encoding by its name in ``ENCODINGS`` or that of ``id_map``; ``DataError`` if there is none."""
    if name in ENCODINGS:
        return ENCODINGS[name]
    if not name.startswith(MAP):
        raise DataError(f"unknown mask_ids '{name}'.{nearest(name, ENCODINGS)}")
    entries = name.removeprefix(MAP).split(",")
    table = np.full(256, _OUTSIDE, np.uint8)
    if SAME in entries:
        table[:_OUTSIDE] = np.arange(_OUTSIDE)
    for entry in entries:
        if entry != SAME:
            stored, train = map(int, entry.split("="))
            table[stored] = train
    return Encoding(table)


def load_mask(path: Path, ids: str, size: tuple[int, int] | None = None) -> Tensor:
    """Return a semantic mask as train ids.

    Args:
        path: mask file with grey values or palette indices, or another form that its encoding allows.
        ids: name of an ``encoding``.
        size: expected (width, height), that of the image; None skips the check.

    Returns:
        uint8 tensor (H, W): 0..18 as in ``SEMANTIC_CLASSES``, 255 ignored.

    Raises:
        DataError: the file is broken, has another size than its image, is not stored as ``ids`` says, has a palette
            that contradicts its ids, or contains an id that ``ids`` does not know.
    """
    return read_mask(path, ids, size)[0]


def read_mask(path: Path, ids: str, size: tuple[int, int] | None = None) -> tuple[Tensor, np.ndarray | None]:
    """Return what ``load_mask`` does, and (256,) how many pixels hold each stored id; None for colours and 16 bits."""
    try:
        known = encoding(ids)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    stored, bits, palette = _read(path)
    check_size(path, stored, size)
    if palette and known.palette:
        _check_palette(path, ids, stored, palette)
    if bits == 16 and not known.deep:
        raise DataError(f"{path}: it stores 16 bits per pixel, but '{ids}' masks have 8; this may be an instance map: "
                        "use the semantic mask, or save it as 8-bit ids")
    if bits == 16 and stored.ndim == 3:
        stored = stored[..., 0]
    if stored.ndim == 3 and known.colours:
        mask = _from_colours(stored[..., :3])
    elif stored.ndim == 3:
        raise DataError(f"{path}: it is a colour image, but '{ids}' masks store one id per pixel; use the file with "
                        "the ids, or convert the colours to ids")
    else:
        mask = known.table[np.minimum(stored, _OUTSIDE)] if bits == 16 else known.table[stored]
    counts = count_pixels(stored) if bits == 8 and stored.ndim == 2 else None
    wrong = (mask == _OUTSIDE).any() if counts is None else counts[known.table == _OUTSIDE].any()
    if wrong:
        outside = mask == _OUTSIDE
        remedy = ("add them to data.options.ids or ignore" if ids.startswith(MAP) else
                  "it is a mask of another kind (label ids are not train ids), or the wrong file")
        raise DataError(f"{path}: it holds {_few(stored, outside)}, which '{ids}' does not know; {remedy}")
    return torch.from_numpy(mask), counts


def count_pixels(values: np.ndarray) -> np.ndarray:
    """Return how often each value 0..255 occurs in a mask (H, W) uint8; several times faster than ``np.bincount``."""
    return np.asarray(Image.fromarray(values).histogram(), np.int64)


def class_pixels(mask: Tensor, ids: str, counts: np.ndarray | None) -> list[int]:
    """Return how many pixels of a mask have train id 0, 1, ... up to the last that occurs.

    Args:
        mask: (H, W) train ids.
        ids: name of its ``encoding``.
        counts: its stored ids, see ``read_mask``.
    """
    pixels = count_pixels(mask.numpy()) if counts is None else np.bincount(encoding(ids).table, counts, 256)
    return np.trim_zeros(pixels[:IGNORE].astype(int), "b").tolist()


def _check_palette(path: Path, ids: str, stored: np.ndarray, palette: list[int]) -> None:
    """Raise ``DataError`` if the palette of a file shows another class than its ids mean."""
    known, colours = encoding(ids), zip(palette[::3], palette[1::3], palette[2::3], strict=False)
    wrong = [value for value, colour in enumerate(colours)
             if known.palette.get(colour, known.table[value]) != known.table[value]
             and not (ids in LABEL_IDS and value == LICENSE_PLATE)]
    if wrong and (present := np.isin(stored, wrong)).any():
        value = int(stored[present][0])
        colour = tuple(palette[3 * value:3 * value + 3])
        meant = [SEMANTIC_CLASSES[k] if k != IGNORE else "ignored" for k in (known.palette[colour], known.table[value])]
        raise DataError(f"{path}: its palette contradicts its ids: the colour {list(colour)} of the id {value} is "
                        f"'{meant[0]}', but as '{ids}' the id is '{meant[1]}'. Restore the ids, or save the colours "
                        "as RGB for a reader that understands them (gta5)")


def check_train_ids(mask: Tensor, n_classes: int, image: str) -> None:
    """Raise ``DataError`` if a mask (H, W) has a train id without a class, except 255."""
    outside = (mask >= n_classes) & (mask != IGNORE)
    if outside.any():
        raise DataError(f"the mask of the image '{image}' has the train id {int(mask[outside][0])}, but "
                        f"segmentation.classes has {n_classes} classes; correct these or the mask")


def read_pixels(path: Path) -> tuple[np.ndarray, int]:
    """Return the stored values of an image file, (H, W) or (H, W, C), and its bits per channel, 8 or 16."""
    return _read(path)[:2]


def _read(path: Path) -> tuple[np.ndarray, int, list[int] | None]:
    """Return what ``read_pixels`` does, and the RGB values of the palette, if the file has one."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.format in ("JPEG", "WEBP"):
                raise DataError(f"{path}: {image.format} changes the ids of a mask; store masks as PNG")
            deep = image.format == "PNG" and content[24] == 16
            if deep and len(image.getbands()) > 1:  # Pillow keeps only 8 of these 16 bits
                with Image.open(io.BytesIO(content), formats=FORMATS) as again:
                    again.verify()  # torchvision crashes on a damaged file
                image.load()
                return _deep_png(content), 16, None
            values, palette = np.array(image), image.getpalette()
    except (*BROKEN, RuntimeError) as error:
        raise broken(path, error) from error
    if values.dtype.kind not in "bu":
        raise DataError(f"{path}: it stores {values.dtype} numbers; save the ids as PNG of 8 or 16 bits")
    return (values.astype(np.uint8) if values.dtype == bool else values), 8 * values.itemsize, palette


def _deep_png(content: bytes) -> np.ndarray:
    from torchvision.io import ImageReadMode, decode_png

    coded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return np.ascontiguousarray(decode_png(coded, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy())


def check_size(path: Path, values: np.ndarray, size: tuple[int, int] | None) -> None:
    """Raise ``DataError`` if the values (H, W, ...) of a file do not have the ``size`` (width, height) of its image."""
    height, width = values.shape[:2]
    if size and (width, height) != tuple(size):
        raise DataError(f"{path}: it is {width}x{height}, but its image is {size[0]}x{size[1]}; it belongs to another "
                        "image or to the image before resizing")


def _from_colours(rgb: np.ndarray) -> np.ndarray:
    """Convert an image (H, W, 3) in Cityscapes colours to train ids (H, W)."""
    colours = np.array([*COLOURS, *IGNORED_COLOURS], np.uint32)
    codes = colours @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    train_ids = np.array([*range(len(COLOURS)), *[IGNORE] * len(IGNORED_COLOURS)], np.uint8)
    order = np.argsort(codes)
    pixels = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    place = np.searchsorted(codes[order], pixels).clip(max=len(codes) - 1)
    return np.where(codes[order][place] == pixels, train_ids[order][place], np.uint8(_OUTSIDE))


def _few(stored: np.ndarray, where: np.ndarray) -> str:
    """List up to five of the values or colours at the given pixels."""
    values = np.unique(stored[where], axis=0)
    kind = "the colours" if values.ndim == 2 else "the ids"
    return f"{kind} {', '.join(str(v) for v in values[:5].tolist())}{' …' if len(values) > 5 else ''}"
