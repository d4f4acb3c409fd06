"""Images and targets of a manifest as tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from dg_project.domains.manifest import image_path
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


class ManifestDataset(torch.utils.data.Dataset[tuple[Tensor, dict[str, Any]]]):
    """The rows of a manifest; decoded images stay in memory as uint8 until ``cache_bytes`` are full.

    Args:
        manifest: rows to serve, in this order.
        root: folder that the manifest's paths are relative to.
        cache: keep decoded images.
        cache_bytes: upper bound of the cache; images beyond it are decoded each time.
    """

    def __init__(self, manifest: pd.DataFrame, root: Path, cache: bool = True, cache_bytes: int = 2 << 30) -> None:
        self.manifest = manifest.reset_index(drop=True)
        self.root = Path(root)
        self.image_ids = [str(name) for name in self.manifest["image_id"]]
        self.domains = [str(name) for name in self.manifest["domain"]]
        weights = self.manifest["weight"] if "weight" in self.manifest else pd.Series(1.0, self.manifest.index)
        self.weights = [float(weight) for weight in weights]
        self._paths = [image_path(self.root, row) for row in self.manifest.itertuples()]
        self._targets = [row_target(row) for row in self.manifest.itertuples()]
        self._cache: dict[int, Tensor] = {}
        self._room = cache_bytes if cache else 0

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """Return the image (3, H, W) uint8 and its target; neither may be changed in place."""
        image = self._cache.get(index)
        if image is None:
            image = load_image(self._paths[index])
            if image.nbytes <= self._room:
                self._room -= image.nbytes
                self._cache[index] = image
        return image, self._targets[index]
