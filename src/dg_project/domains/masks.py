"""Label images: semantic masks of train ids, and maps of object numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dg_project.errors import DataError


def load_mask(path: Path) -> Tensor:
    """Return the semantic mask at ``path`` as uint8 train ids (H, W), 255 ignored.

    Raises:
        DataError: the file is missing or no image of one channel.
    """
    return torch.from_numpy(_indices(path))


def load_instances(path: Path, count: int) -> Tensor:
    """Return bool masks (count, H, W) of the objects 1..count of the map at ``path``.

    Raises:
        DataError: the file is missing or no image of one channel.
    """
    return torch.from_numpy(_indices(path)[None] == np.arange(1, count + 1)[:, None, None])


def _indices(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            values = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"cannot read the mask '{path}' ({error}); restore the file or ingest again") from error
    if values.ndim != 2:
        raise DataError(f"the mask '{path}' has colours instead of ids; store it with one channel or a palette")
    return values
