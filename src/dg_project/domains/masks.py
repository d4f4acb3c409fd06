"""Semantic masks as train ids and instance masks in the order of the boxes, whatever the data set stores."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects
from torch import Tensor

from dg_project.domains import label_ids
from dg_project.domains.label_ids import IGNORE, SEMANTIC_CLASSES
from dg_project.domains.loading import BROKEN, broken
from dg_project.errors import DataError, nearest
from dg_project.files import inside

__all__ = ["ENCODINGS", "IGNORE", "SEMANTIC_CLASSES", "load_instances", "load_mask"]

_OUTSIDE = 254
"""Marks a stored id that the encoding does not know; no train id is as high."""


@dataclass(frozen=True)
class Encoding:
    """How a data set stores its masks.

    Attributes:
        table: (256,) uint8: stored id -> train id, ``_OUTSIDE`` where there is no such id.
        colours: RGB pictures in Cityscapes' colours are read too.
        deep: 16-bit files are read too, by their first channel.
    """

    table: np.ndarray
    colours: bool = False
    deep: bool = False


def _table(train_ids: dict[int, int], known: Iterable[int]) -> np.ndarray:
    table = np.full(256, _OUTSIDE, np.uint8)
    table[[*known, IGNORE]] = IGNORE
    table[list(train_ids)] = list(train_ids.values())
    return table


ENCODINGS: dict[str, Encoding] = {
    "train_ids": Encoding(_table({i: i for i in range(len(SEMANTIC_CLASSES))}, [])),
    "cityscapes_ids": Encoding(_table(label_ids.CITYSCAPES, range(label_ids.CITYSCAPES_LABELS))),
    "gta5": Encoding(_table(label_ids.CITYSCAPES, range(label_ids.CITYSCAPES_LABELS)), colours=True),
    "synthia": Encoding(_table(label_ids.SYNTHIA, range(label_ids.SYNTHIA_LABELS)), deep=True),
    "mapillary": Encoding(_table({i: train_id for i, (_, train_id) in label_ids.MAPILLARY.items()},
                                 range(label_ids.MAPILLARY_LABELS))),
    "voc": Encoding(_table(label_ids.VOC, range(label_ids.VOC_LABELS))),
}
"""What the column ``mask_ids`` may name."""


def load_mask(path: Path, ids: str, size: tuple[int, int] | None = None) -> Tensor:
    """Return a semantic mask as train ids.

    Args:
        path: file of the mask: ids in grey or palette indices, or one of the kinds that its encoding allows.
        ids: name in ``ENCODINGS``.
        size: (width, height) of the mask's image; None does not look.

    Returns:
        uint8 tensor (H, W): 0..18 as in ``SEMANTIC_CLASSES``, 255 ignored.

    Raises:
        DataError: the file is broken, of another size than its image, not stored as ``ids`` says, or holds an id that
            ``ids`` does not know.
    """
    if ids not in ENCODINGS:
        raise DataError(f"{path}: unknown mask_ids '{ids}'.{nearest(ids, ENCODINGS)}")
    encoding = ENCODINGS[ids]
    stored, bits = _pixels(path)
    _check_size(path, stored, size)
    if bits == 16 and not encoding.deep:
        raise DataError(f"{path}: it stores 16 bits a pixel, but '{ids}' masks have 8; this may be an instance map, so "
                        "look for the semantic mask, or save it as 8-bit ids")
    if bits == 16 and stored.ndim == 3:
        stored = stored[..., 0]
    if stored.ndim == 3 and encoding.colours:
        mask = _from_colours(stored[..., :3])
    elif stored.ndim == 3:
        raise DataError(f"{path}: it is a colour picture, but '{ids}' masks store one id a pixel; use the file with "
                        "the ids, or convert the colours to ids")
    else:
        mask = encoding.table[np.minimum(stored, _OUTSIDE)] if bits == 16 else encoding.table[stored]
    if (outside := mask == _OUTSIDE).any():
        raise DataError(f"{path}: it holds {_few(stored, outside)}, which '{ids}' does not know; it is a mask of "
                        "another kind (label ids are no train ids), or the wrong file")
    return torch.from_numpy(mask)


def load_instances(root: Path, row: Any) -> Tensor:
    """Return the masks of a manifest row's objects.

    Args:
        root: data root; for pseudo images, that of their source images.
        row: manifest row with ``instances``, ``instance_ids``, ``width`` and ``height``.

    Returns:
        bool tensor (n, H, W), in the order of the row's boxes.

    Raises:
        DataError: the image has no instance masks, or the file is broken, of another size or lacks an object.
    """
    if not row.instances:
        raise DataError(f"{row.image}: its data set has no instance masks; use a task that needs none")
    path, ids = inside(Path(root), row.instances), [int(k) for k in row.instance_ids]
    if path.suffix.lower() != ".json":
        values = read_index_map(path, (int(row.width), int(row.height)))
        check_indices(path, values, ids)
        return torch.from_numpy(values == np.asarray(ids, values.dtype).reshape(-1, 1, 1))
    polygons = _coco_segmentations(path)
    if missing := [k for k in ids if k not in polygons]:
        raise DataError(f"{path}: it has no annotation {missing[0]} any more; ingest again")
    masks = [_rasterise(path, polygons[k], (int(row.width), int(row.height))) for k in ids]
    return torch.from_numpy(np.stack(masks) if masks else np.zeros((0, int(row.height), int(row.width)), bool))


def read_index_map(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return the integers (H, W) of an index map: grey of 8 or 16 bits, or palette indices."""
    values, _ = _pixels(path)
    _check_size(path, values, size)
    if values.ndim != 2:
        raise DataError(f"{path}: it is a colour picture, but an instance map stores one number a pixel")
    return values


def extents(values: np.ndarray, wanted: Sequence[int]) -> list[tuple[float, float, float, float]]:
    """Return the box (x0, y0, x1, y1; exclusive maximum) of every wanted value of an index map (H, W)."""
    numbered = np.zeros(int(values.max(initial=0)) + 1, np.int32)
    numbered[list(wanted)] = range(1, len(wanted) + 1)
    return [(float(x.start), float(y.start), float(x.stop), float(y.stop))
            for y, x in find_objects(numbered[values], max_label=len(wanted))]


def values_in(values: np.ndarray) -> list[int]:
    """Return the values that an index map (H, W) holds, ascending."""
    return np.flatnonzero(np.bincount(values.ravel())).tolist()


def check_indices(path: Path, values: np.ndarray, ids: Sequence[int]) -> None:
    """Raise ``DataError`` when an object has no pixel in its index map (H, W)."""
    if missing := sorted(set(ids) - set(values_in(values))):
        raise DataError(f"{path}: no pixel has the value {missing[0]} of an annotated object; the map belongs to "
                        "another image or another version of the annotation")


def _pixels(path: Path) -> tuple[np.ndarray, int]:
    """Return what a file stores, (H, W) or (H, W, C), and its bits per channel: 8 or 16."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            if image.format in ("JPEG", "WEBP"):
                raise DataError(f"{path}: {image.format} changes the ids of a mask; store masks as PNG")
            deep = image.format == "PNG" and content[24] == 16
            if deep and len(image.getbands()) > 1:  # Pillow keeps only 8 of these 16 bits
                return _deep_png(content), 16
            values = np.array(image)
    except BROKEN as error:
        raise broken(path, error) from error
    if values.dtype.kind not in "bu":
        raise DataError(f"{path}: it stores {values.dtype} numbers; save the ids as PNG of 8 or 16 bits")
    return (values.astype(np.uint8) if values.dtype == bool else values), 8 * values.itemsize


def _deep_png(content: bytes) -> np.ndarray:
    from torchvision.io import ImageReadMode, decode_png

    coded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return np.ascontiguousarray(decode_png(coded, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy())


def _check_size(path: Path, values: np.ndarray, size: tuple[int, int] | None) -> None:
    height, width = values.shape[:2]
    if size and (width, height) != tuple(size):
        raise DataError(f"{path}: it is {width}x{height}, but its image is {size[0]}x{size[1]}; it belongs to another "
                        "image or to one before resizing")


def _from_colours(rgb: np.ndarray) -> np.ndarray:
    """Return the train ids (H, W) of a picture (H, W, 3) in Cityscapes' colours."""
    colours = np.array([*label_ids.COLOURS, *label_ids.IGNORED_COLOURS], np.uint32)
    codes = colours @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    train_ids = np.array([*range(len(label_ids.COLOURS)), *[IGNORE] * len(label_ids.IGNORED_COLOURS)], np.uint8)
    order = np.argsort(codes)
    pixels = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    place = np.searchsorted(codes[order], pixels).clip(max=len(codes) - 1)
    return np.where(codes[order][place] == pixels, train_ids[order][place], np.uint8(_OUTSIDE))


def _few(stored: np.ndarray, where: np.ndarray) -> str:
    """Name up to five of the values or colours at the given pixels."""
    values = np.unique(stored[where], axis=0)
    kind = "the colours" if values.ndim == 2 else "the ids"
    return f"{kind} {', '.join(str(v) for v in values[:5].tolist())}{' …' if len(values) > 5 else ''}"


@lru_cache(maxsize=4)
def _coco_segmentations(path: Path) -> dict[int, Any]:
    """Return annotation id -> polygons or run lengths; the file is read once."""
    try:
        annotations = json.loads(path.read_text(encoding="utf-8-sig"))["annotations"]
        return {int(item["id"]): item["segmentation"] for item in annotations if item.get("segmentation")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: it is no COCO file any more ({error!r}); restore it and ingest again") from error


def usable(segmentation: Any, size: tuple[int, int]) -> Any:
    """Return what can be drawn of a COCO segmentation, or None.

    That is run lengths of an image of ``size`` (width, height), or the polygons of three points or more: COCO itself
    has a few degenerate ones.
    """
    if isinstance(segmentation, dict):
        stated = list(segmentation.get("size") or [])
        return segmentation if stated == [size[1], size[0]] and segmentation.get("counts") else None
    polygons = segmentation if isinstance(segmentation, list) else []
    return [p for p in polygons if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0] or None


def _rasterise(path: Path, segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return polygons, or run lengths (compressed or not), as bool (H, W)."""
    width, height = size
    if (known := usable(segmentation, size)) is None:
        raise DataError(f"{path}: a segmentation is neither polygons nor the run lengths of a {width}x{height} image; "
                        "the file was changed, so ingest again")
    compressed = isinstance(known, dict) and isinstance(known["counts"], str)
    runs = known if compressed else coco_mask.frPyObjects(known, height, width)
    return coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs).astype(bool)
