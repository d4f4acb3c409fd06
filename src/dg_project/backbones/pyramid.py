"""Strides 4, 8, 16 and 32 from a plain vision transformer, whose maps all have the stride of its patches."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STAGES = ("stage2", "stage3", "stage4", "stage5")


def evenly_spaced(depth: int) -> dict[str, int]:
    """Return which of ``depth`` blocks ends each stage: a quarter of the blocks per stage, the last ends ``stage5``."""
    return {stage: -(-depth * quarter // len(STAGES)) - 1 for quarter, stage in enumerate(STAGES, 1)}


@dataclass(frozen=True)
class Pyramid:
    """Resamples the maps of evenly spaced blocks, the earliest to the finest, so that every head finds its strides.

    Maps of evenly spaced blocks are what dense heads on plain transformers read (BEiT: Bao et al., ICLR 2022), and make
    a tap meaningful: it changes the stages after its own and none before. That a single-stride map resampled to four
    strides serves a detector as well as a hierarchy is the finding of ViTDet (Li et al., ECCV 2022, arXiv 2203.16527).
    Both learn the resampling (transposed convolutions). Here it is linear interpolation: a frozen backbone then holds
    nothing untrained, and the 1x1 convolutions of a head, which commute with it, do the learning.

    Attributes:
        norm: the network's final normalisation, applied to every stage, as DINOv2 does for dense heads: the stream
            between blocks has no scale of its own. Taps lie before it.
        patch: pixels per side of a patch.
    """

    norm: nn.Module
    patch: int

    def __call__(self, maps: OrderedDict[str, Tensor], size: tuple[int, int]) -> OrderedDict[str, Tensor]:
        """Map ``(B, C, h, w)`` at the stride of the patches to ``stage<n>: (B, C, ceil(H / 2**n), ceil(W / 2**n))``.

        Args:
            maps: by stage name.
            size: height and width of the images before they were padded to whole patches.
        """
        return OrderedDict((stage, self._stage(features, 2 ** int(stage.removeprefix("stage")), size))
                           for stage, features in maps.items())

    def _stage(self, features: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
        cells = self.norm(features.permute(0, 2, 3, 1))
        if stride != self.patch:
            rows, columns = (resampling(n, self.patch, -(-length // stride), stride).to(cells)
                             for n, length in zip(features.shape[-2:], size, strict=True))
            cells = columns @ cells
            cells = (rows @ cells.flatten(2)).unflatten(2, cells.shape[2:])
        return cells.permute(0, 3, 1, 2)


def resampling(n: int, stride: int, new_n: int, new_stride: int) -> Tensor:
    """Return the matrix ``(new_n, n)`` that linearly interpolates n cells of a stride to cells of another stride.

    Both grids begin at the same pixel, so a box keeps its place whatever the strides are; going to a coarser stride,
    the filter is as much wider (antialiasing). ``torch.nn.functional.interpolate`` does the same for whole ratios; it
    drops the last cell that an image only partly fills, and has no deterministic gradient on a GPU.
    """
    ratio = new_stride / stride
    centres = (torch.arange(new_n)[:, None] + 0.5) * ratio - 0.5
    weights = (1 - (torch.arange(n) - centres).abs() / max(ratio, 1)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)
