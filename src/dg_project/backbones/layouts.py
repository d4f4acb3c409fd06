"""Layouts of stage outputs, and their conversion to and from maps ``(B, C, H, W)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Layout(Protocol):
    """Extracts the map from a stage's output, and replaces it."""

    def fold(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the map ``(B, C, h, w)`` of a stage's output; ``size`` is that of the network's input images."""
        ...

    def unfold(self, features: Tensor, output: Tensor) -> Tensor:
        """Return ``output`` with its map replaced by ``features``."""
        ...


class ChannelsFirst:
    """``(B, C, h, w)``: convolutional networks."""

    def fold(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """See ``Layout``."""
        return output

    def unfold(self, features: Tensor, output: Tensor) -> Tensor:
        """See ``Layout``."""
        return features


class ChannelsLast:
    """``(B, h, w, C)``: Swin transformers."""

    def fold(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """See ``Layout``."""
        return output.permute(0, 3, 1, 2)

    def unfold(self, features: Tensor, output: Tensor) -> Tensor:
        """See ``Layout``."""
        return features.permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Tokens:
    """``(B, prefix + h w, C)``: plain vision transformers, one token per patch, row by row.

    Attributes:
        prefix: number of class and register tokens before the patches; not part of the map.
        patch: pixels per side of a patch.
    """

    prefix: int
    patch: int

    def fold(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """See ``Layout``."""
        cells = output[:, self.prefix:].unflatten(1, (size[0] // self.patch, size[1] // self.patch))
        return cells.permute(0, 3, 1, 2)

    def unfold(self, features: Tensor, output: Tensor) -> Tensor:
        """See ``Layout``."""
        return torch.cat([output[:, :self.prefix], features.flatten(2).transpose(1, 2)], 1)
