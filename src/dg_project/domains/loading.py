"""Images and targets of a manifest as tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dg_project.errors import DataError

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
