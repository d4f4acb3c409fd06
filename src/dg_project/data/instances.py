"""Load instance masks in the order of the boxes, from index maps and from polygons or run lengths of COCO files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects
from torch import Tensor

from dg_project.core.errors import DataError
from dg_project.core.files import inside
from dg_project.data.masks import check_size, read_pixels


def load_instances(root: Path, row: Any) -> Tensor:
    """Return the masks of a manifest row's objects.

    Args:
        root: data root; for pseudo images, that of their source images.
        row: manifest row with ``instances``, ``instance_ids``, ``width`` and ``height``.

    Returns:
        bool tensor (n, H, W), in the order of the row's boxes.

    Raises:
        DataError: the image has no instance masks, or the file is broken, has another size or lacks an object.
    """
    if not row.instances and not len(row.difficult):
        return torch.zeros((0, int(row.height), int(row.width)), dtype=torch.bool)
    if not row.instances:
        raise DataError(f"{row.image}: its data set has no instance masks; use a task without instance masks")
    path, ids = inside(Path(root), row.instances), [int(k) for k in row.instance_ids]
    if path.suffix.lower() != ".json":
        values = read_index_map(path, (int(row.width), int(row.height)))
        check_indices(path, values, [k for k, hard in zip(ids, row.difficult, strict=True) if not hard])
        return torch.from_numpy(values == np.asarray(ids, values.dtype).reshape(-1, 1, 1))
    polygons = _coco_segmentations(path)
    if missing := [k for k in ids if k not in polygons]:
        raise DataError(f"{path}: it no longer has the annotation {missing[0]}; ingest again")
    masks = [_rasterise(path, polygons[k], (int(row.width), int(row.height))) for k in ids]
    return torch.from_numpy(np.stack(masks) if masks else np.zeros((0, int(row.height), int(row.width)), bool))


def read_index_map(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return the integers (H, W) of an index map: 8-bit or 16-bit grey, or palette indices."""
    values, _ = read_pixels(path)
    check_size(path, values, size)
    if values.ndim != 2:
        raise DataError(f"{path}: it is a colour image, but an instance map stores one number per pixel")
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
    """Raise ``DataError`` if one of ``ids`` has no pixel in an index map (H, W); omit ids of difficult objects."""
    if missing := sorted(set(ids) - set(values_in(values))):
        raise DataError(f"{path}: no pixel has the value {missing[0]} of an annotated object; the map belongs to "
                        "another image or another version of the annotation")


@lru_cache(maxsize=4)
def _coco_segmentations(path: Path) -> dict[int, Any]:
    """Return annotation id -> polygons or run lengths."""
    try:
        annotations = json.loads(path.read_text(encoding="utf-8-sig"))["annotations"]
        return {int(item["id"]): item["segmentation"] for item in annotations if item.get("segmentation")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: it is no longer a COCO file ({error!r}); restore it and ingest again") from error


def usable(segmentation: Any, size: tuple[int, int]) -> Any:
    """Return the drawable part of a COCO segmentation in an image of ``size`` (width, height), or None.

    That is its run lengths, or its polygons of three or more points (COCO has a few degenerate ones). The numbers are
    checked because pycocotools does not check them and crashes on NaN.
    """
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if _is_polygon(polygon, max(size))] or None
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not counts or list(segmentation.get("size") or []) != [size[1], size[0]]:
        return None
    runs = unpack_counts(counts) if isinstance(counts, str) else counts
    valid = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    return segmentation if valid and sum(runs) == size[0] * size[1] else None


def unpack_counts(text: str) -> list[int]:
    """Decode COCO's compressed run lengths; a truncated last number is dropped.

    A character holds 5 bits of a number, lowest first, and a flag whether more follow; from the fourth number on, each
    is the difference to the one two before it. pycocotools does not check that the runs fill the image.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the highest bit is the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _is_polygon(polygon: Any, side: int) -> bool:
    """Return whether this is a list x, y, x, y, ... of three or more points, none far outside the image."""
    try:
        points = np.asarray(polygon, float)
    except (TypeError, ValueError):
        return False
    return points.ndim == 1 and len(points) >= 6 and len(points) % 2 == 0 and bool((np.abs(points) < 10 * side).all())


def _rasterise(path: Path, segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Draw polygons or run lengths (compressed or not) as bool (H, W)."""
    width, height = size
    if (known := usable(segmentation, size)) is None:
        raise DataError(f"{path}: a segmentation is neither polygons nor the run lengths of a {width}x{height} image; "
                        "the file was changed; ingest again")
    compressed = isinstance(known, dict) and isinstance(known["counts"], str)
    runs = known if compressed else coco_mask.frPyObjects(known, height, width)
    try:
        return coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs).astype(bool)
    except ValueError as error:
        raise DataError(f"{path}: run lengths do not fill a {width}x{height} image ({error}); fix them") from error
