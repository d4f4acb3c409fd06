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
from dg_project.domains.masks import load_instances, load_mask
from dg_project.errors import DataError
from dg_project.files import inside

Sample = tuple[Tensor, dict[str, Any]]
_PARTS = {"mask": "semantic mask", "instances": "instance masks"}


def load_image(path: Path) -> Tensor:
    """Return the RGB image at ``path`` as a uint8 tensor (3, H, W).

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
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
    """The rows of a manifest; decoded images and masks stay in memory as uint8 until ``cache_bytes`` are full.

    Args:
        manifest: rows to serve, in this order; a column ``crop`` says which part of each image is served.
        root: folder that the images' paths are relative to.
        label_root: folder that the paths of masks are relative to: those of pseudo images lie beside their source.
        parts: label images to open: ``mask`` and ``instances``.
        cache: keep decoded images.
        cache_bytes: upper bound of the cache; images beyond it are decoded each time.

    Raises:
        DataError: a row has no label image of the kind that is asked for.
    """

    def __init__(self, manifest: pd.DataFrame, root: Path, label_root: Path | None = None,
                 parts: tuple[str, ...] = (), cache: bool = True, cache_bytes: int = 2 << 30) -> None:
        self.manifest = manifest.reset_index(drop=True)
        self.root, self.label_root, self.parts = Path(root), Path(label_root or root), parts
        self.image_ids = [str(name) for name in self.manifest["image_id"]]
        self.domains = [str(name) for name in self.manifest["domain"]]
        weights = self.manifest["weight"] if "weight" in self.manifest else pd.Series(1.0, self.manifest.index)
        self.weights = [float(weight) for weight in weights]
        self._rows: list[Any] = list(self.manifest.itertuples())
        self._paths = [image_path(self.root, row) for row in self._rows]
        self._targets = [row_target(row) for row in self._rows]
        for part in parts:
            check_part(self.manifest, part)
        self._cache: dict[int, Sample] = {}
        self._room = cache_bytes if cache else 0

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> Sample:
        """Return the image (3, H, W) uint8 and its target; neither may be changed in place.

        The target is that of ``row_target``, with ``mask`` (H, W) uint8 train ids and ``instances`` (n, H, W) bool
        where they were asked for, and boxes counted from the corner of the crop.
        """
        if index in self._cache:
            return self._cache[index]
        sample = self._open(index)
        size = sample[0].nbytes + sum(sample[1][part].nbytes for part in self.parts)
        if size <= self._room:
            self._room -= size
            self._cache[index] = sample
        return sample

    def _open(self, index: int) -> Sample:
        row, image, target = self._rows[index], load_image(self._paths[index]), dict(self._targets[index])
        target |= {part: load_part(row, part, self.label_root, image.shape[-2:]) for part in self.parts}
        if not hasattr(row, "crop"):
            return image, target
        x0, y0, x1, y1 = (int(value) for value in row.crop)
        target["boxes"] = target["boxes"] - torch.tensor([x0, y0, x0, y0], dtype=torch.float32)
        cut = {part: target[part][..., y0:y1, x0:x1].clone() for part in self.parts}
        return image[:, y0:y1, x0:x1].clone(), target | cut


def check_part(manifest: pd.DataFrame, part: str) -> None:
    """Raise ``DataError`` for the first row that has no label image ``part``."""
    missing = manifest[part].astype(str) == "" if part in manifest else pd.Series(True, manifest.index)
    if missing.any():
        first = manifest[missing].iloc[0]
        raise DataError(f"the image '{first['image']}' of '{first['domain']}' has no {_PARTS[part]} "
                        f"({int(missing.sum())} of {len(manifest)} have none), and this task is trained on them; add "
                        "them to the data set, or choose task=detection")


def load_part(row: Any, part: str, root: Path, size: torch.Size | tuple[int, int]) -> Tensor:
    """Return a row's semantic ``mask`` (H, W) uint8, or its ``instances`` (n, H, W) bool in the order of its boxes.

    Raises:
        DataError: the file cannot be read, or has another size than the image.
    """
    path = inside(root, getattr(row, part))
    found = load_mask(path) if part == "mask" else load_instances(path, len(row.boxes))
    if tuple(found.shape[-2:]) != tuple(size):
        raise DataError(f"'{path}' is {found.shape[-1]}x{found.shape[-2]}, but its image is {size[1]}x{size[0]}; "
                        "restore the label image that belongs to it")
    return found
