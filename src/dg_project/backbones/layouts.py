"""How a network's stage hands on its features, and the map ``(B, C, H, W)`` that is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Layout(Protocol):
    """Reads a map out of what a stage returns, and writes another map in its place."""

    def fold(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the map ``(B, C, h, w)`` in a stage's output; ``size`` is that of the images that the network saw."""
        ...

    def unfold(self, features: Tensor, output: Tensor) -> Tensor:
        """Return ``output`` with the map ``features`` in the place of its own."""
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
        prefix: number of class and register tokens before the patches; they are no part of the map.
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
