"""Disk cache of image embeddings, keyed by pixel hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from dg_project.core.files import atomic_file
from dg_project.data.dataset import ManifestDataset
from dg_project.data.images import pixel_hash, to_float, to_uint8

PART = 1024
"""Images per file: the most that a killed run loses."""

Embed = Callable[[Sequence[Tensor]], Tensor]


def pixel_key(image: Tensor) -> bytes:
    """Return the 16-byte key of an image (3, h, w), the same for uint8 and for floats in [0, 1]."""
    return pixel_hash(image if image.dtype == torch.uint8 else to_uint8(image))


class EmbeddingCache:
    """An image encoder that embeds each image once.

    The training loop augments by flipping only, so a training image has two versions; ``fill`` embeds both. Other
    images are embedded when they are first requested.

    Args:
        embed: images (3, h, w) in [0, 1] -> (N, D).
    """

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._rows: dict[bytes, int] = {}
        self._parts: list[Tensor] = []
        self._table: Tensor | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """Return the embeddings (N, D) of images in [0, 1], on the device of the images."""
        keys = [pixel_key(image) for image in images]
        unknown = {key: image for key, image in zip(keys, images, strict=True) if key not in self._rows}
        if unknown:
            self._add(list(unknown), self._embed(list(unknown.values())).cpu())
        if self._table is None:
            self._table = torch.cat(self._parts)
            self._parts = [self._table]
        return self._table[[self._rows[key] for key in keys]].to(images[0].device)

    def fill(self, images: ManifestDataset, flip: bool, folder: Path, device: torch.device,
             batch_size: int = 64) -> None:
        """Embed every image and its mirror image, or read the embeddings of an earlier run; resumable by part.

        Args:
            images: training images.
            flip: whether training may mirror them.
            folder: cache folder of this encoder and these images only.
            device: torch device of the encoder.
            batch_size: images per batch.
        """
        starts = range(0, len(images), PART)
        for start in tqdm(starts, "embed images", unit="part", leave=False):
            path = folder / f"part{start // PART:05d}.safetensors"
            if not path.is_file():
                rows = range(start, min(start + PART, len(images)))
                keys, embedded = self._embed_rows(images, rows, flip, device, batch_size)
                with atomic_file(path) as aside:
                    save_file({"keys": keys, "embedded": embedded}, aside)
            stored = load_file(path)
            self._add([row.numpy().tobytes() for row in stored["keys"]], stored["embedded"])

    def _embed_rows(self, images: ManifestDataset, rows: range, flip: bool, device: torch.device,
                    batch_size: int) -> tuple[Tensor, Tensor]:
        """Return keys (n, 16) uint8 and embeddings (n, D) of the images at ``rows`` and their mirror images."""
        keys, embedded = [], []
        for batch in _batches(images, rows, flip, batch_size):
            keys += [torch.frombuffer(bytearray(pixel_key(image)), dtype=torch.uint8) for image in batch]
            embedded.append(self._embed([to_float(image.to(device)) for image in batch]).cpu().contiguous())
        return torch.stack(keys), torch.cat(embedded)

    def _add(self, keys: list[bytes], embedded: Tensor) -> None:
        first = sum(len(part) for part in self._parts)
        self._rows |= {key: first + i for i, key in enumerate(keys)}
        self._parts.append(embedded)
        self._table = None


def _batches(images: ManifestDataset, rows: range, flip: bool, size: int) -> Iterator[list[Tensor]]:
    """Yield lists of uint8 images, each followed by its mirror image."""
    for start in range(rows.start, rows.stop, size):
        plain = [images[i][0] for i in range(start, min(start + size, rows.stop))]
        yield [view for image in plain for view in ([image, image.flip(-1)] if flip else [image])]
