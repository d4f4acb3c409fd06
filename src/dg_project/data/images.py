"""Images and targets of a manifest as tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dg_project.core.errors import DataError

import struct

from PIL import ExifTags, Image

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from dg_project.core.extras import av
from dg_project.core.files import fingerprint



BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a file that is missing, truncated, no image, or far too large."""


def broken(path: Path, error: BaseException) -> DataError:
    """Return the error that says why an image file cannot be used, and what to do."""
    if isinstance(error, Image.DecompressionBombError):
        return DataError(f"{path}: it unpacks to more pixels than any data set has ({error}); replace the file, or "
                         "scale it down")
    return DataError(f"{path}: it is truncated or no image ({error}); restore the file")


def load_image(path: Path) -> Tensor:
    """Return the RGB image at ``path`` as a uint8 tensor (3, H, W).

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))
    except BROKEN as error:
        raise DataError(f"cannot read the image '{path}' ({error}); restore the file or ingest again") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def row_target(row: Any) -> dict[str, Any]:
    """Return a manifest row's target: boxes (n, 4) float32 xyxy, labels (n,) int64, difficult (n,) bool, image_id."""
    boxes = np.asarray([list(box) for box in row.boxes], np.float32).reshape(-1, 4)
    return {
        "boxes": torch.from_numpy(boxes),
        "labels": torch.tensor([int(label) for label in row.labels], dtype=torch.int64),
        "difficult": torch.tensor([bool(flag) for flag in row.difficult], dtype=torch.bool),
        "image_id": str(row.image_id),
    }

AS_STORED = 1
_UNREADABLE = (SyntaxError, ValueError, TypeError, LookupError, struct.error)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1, as it is stored, where there is none that can be read.

    Raises:
        OSError: the image is truncated.
    """
    image.load()  # the EXIF of a PNG may stand behind its pixels; a TIFF is turned by Pillow itself, and 1 from here on
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except _UNREADABLE:  # its pixels are good
        return AS_STORED
    return found if found in _TURNS else AS_STORED


def upright(image: Image.Image) -> Image.Image:
    """Return an image as a viewer shows it. Pillow's ``exif_transpose`` stumbles over EXIF that it cannot write again.

    Raises:
        OSError: the image is truncated.
    """
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def shown(image: Image.Image) -> Tensor:
    """Return an opened image as a viewer shows it, turned as its EXIF orientation says: RGB uint8 (3, H, W)."""
    return torch.from_numpy(np.array(upright(image).convert("RGB"))).permute(2, 0, 1).contiguous()
