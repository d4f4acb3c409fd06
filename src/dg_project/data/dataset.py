"""Data set of the rows of a manifest: images with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dg_project.core.errors import DataError
from dg_project.core.files import inside
from dg_project.data.images import load_image, to_float
from dg_project.data.instances import load_instances
from dg_project.data.manifest import image_path
from dg_project.data.masks import load_mask
from dg_project.data.origin import check_file, check_labels

Sample = tuple[Tensor, dict[str, Any]]
_PARTS = {"mask": "semantic mask", "instances": "instance masks"}


class ManifestDataset(torch.utils.data.Dataset[tuple[Tensor, dict[str, Any]]]):
    """The rows of a manifest. Decoded images and masks are cached as uint8, up to ``cache_bytes``.

    For crops the cache holds whole frames, so a frame is decoded once, not once per object. If they do not all fit,
    only the last frame is kept.

    Args:
        manifest: rows to serve, in this order; a column ``crop`` selects a part of each image.
        root: folder that image paths are relative to.
        label_root: folder that mask paths are relative to; pseudo images use the masks of their source images.
        parts: label images to open: ``mask`` and ``instances``.
        cache: keep decoded images.
        cache_bytes: size limit of the cache; images beyond it are decoded each time.

    Raises:
        DataError: a row lacks a label image of ``parts``; when it is opened, a file is not the one that was ingested.
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
        self._frames: dict[Path, Tensor] = {}
        self._keeps_frames = "crop" in self.manifest and not parts and self._bytes_of_frames() <= self._room

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> Sample:
        """Return the image (3, H, W) uint8 and its target; do not change them in place.

        The target is that of ``row_target`` with the label images in ``parts``: ``mask`` (H, W) uint8 train ids,
        ``instances`` (n, H, W) bool. Boxes are relative to the crop.
        """
        if index in self._cache:
            return self._cache[index]
        sample = self._open(index)
        size = sample[0].nbytes + sum(sample[1][part].nbytes for part in self.parts)
        if size <= self._room and not self._keeps_frames:
            self._room -= size
            self._cache[index] = sample
        return sample

    def _bytes_of_frames(self) -> int:
        return sum({path: 3 * int(row.width) * int(row.height)
                    for path, row in zip(self._paths, self._rows, strict=True)}.values())

    def _frame(self, path: Path, sha256: str) -> Tensor:
        """Return the whole image that crops are taken from."""
        if path not in self._frames:
            if not self._keeps_frames:
                self._frames.clear()
            check_file(path, sha256)
            self._frames[path] = load_image(path)
        return self._frames[path]

    def _open(self, index: int) -> Sample:
        row, path, target = self._rows[index], self._paths[index], dict(self._targets[index])
        sha256 = str(getattr(row, "sha256", "") or "")
        target |= {part: load_part(row, part, self.label_root) for part in self.parts}
        if not hasattr(row, "crop"):
            check_file(path, sha256)
            return load_image(path), target
        image = self._frame(path, sha256)
        x0, y0, x1, y1 = (int(value) for value in row.crop)
        target["boxes"] = target["boxes"] - torch.tensor([x0, y0, x0, y0], dtype=torch.float32)
        cut = {part: target[part][..., y0:y1, x0:x1].clone() for part in self.parts}
        return image[:, y0:y1, x0:x1].clone(), target | cut


def row_image(root: Path, row: Any) -> Tensor:
    """Return the image (3, H, W) uint8 of a manifest row, checked to be the one that was ingested or generated."""
    path = image_path(root, row)
    check_file(path, str(getattr(row, "sha256", "") or ""))
    return load_image(path)


def row_target(row: Any) -> dict[str, Any]:
    """Return a manifest row's target: boxes (n, 4) float32 xyxy, labels (n,) int64, difficult (n,) bool, image_id."""
    boxes = np.asarray([list(box) for box in row.boxes], np.float32).reshape(-1, 4)
    return {
        "boxes": torch.from_numpy(boxes),
        "labels": torch.tensor([int(label) for label in row.labels], dtype=torch.int64),
        "difficult": torch.tensor([bool(flag) for flag in row.difficult], dtype=torch.bool),
        "image_id": str(row.image_id),
    }


def target_to(target: dict[str, Any], device: str | torch.device) -> dict[str, Any]:
    """Return a target with all its tensors on ``device``."""
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in target.items()}


class Chunk(NamedTuple):
    """Consecutive rows of a data set.

    Attributes:
        rows: row numbers.
        images: float32 tensors (3, H, W) in 0..1.
        targets: targets of ``ManifestDataset``, not moved to another device.
    """

    rows: range
    images: list[Tensor]
    targets: list[dict[str, Any]]


def chunks(dataset: ManifestDataset, size: int, device: str | torch.device, name: str) -> Iterator[Chunk]:
    """Yield all rows in order, ``size`` at a time, images on ``device``; ``name`` labels the progress bar."""
    with tqdm(total=len(dataset), desc=name, unit="image", leave=False) as bar:
        for start in range(0, len(dataset), size):
            rows = range(start, min(start + size, len(dataset)))
            samples = [dataset[i] for i in rows]
            yield Chunk(rows, [to_float(image.to(device)) for image, _ in samples],
                        [target for _, target in samples])
            bar.update(len(rows))


def check_part(manifest: pd.DataFrame, part: str) -> None:
    """Raise ``DataError`` for the first row without the label image ``part``."""
    missing = manifest[part].astype(str) == "" if part in manifest else pd.Series(True, manifest.index)
    if part == "instances":  # an image without objects needs no masks of them
        missing &= manifest["boxes"].map(len) > 0
    if missing.any():
        first = manifest[missing].iloc[0]
        raise DataError(f"the image '{first['image']}' of '{first['domain']}' has no {_PARTS[part]} "
                        f"({int(missing.sum())} of {len(manifest)} have none), and this task is trained on them; add "
                        "them to the data set, or choose task=detection")


def load_part(row: Any, part: str, root: Path) -> Tensor:
    """Return a row's semantic ``mask`` (H, W) uint8, or its ``instances`` (n, H, W) bool in the order of its boxes.

    Raises:
        DataError: a file is missing, broken, or not the one that was ingested.
    """
    check_labels(row, root)
    if part == "instances":
        return load_instances(root, row)
    return load_mask(inside(root, row.mask), row.mask_ids, (int(row.width), int(row.height)))
