"""Feature pyramid of strides 4, 8, 16 and 32 for plain vision transformers, whose maps share the patch stride."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STAGES = ("stage2", "stage3", "stage4", "stage5")


def evenly_spaced(depth: int) -> dict[str, int]:
    """Return the last of ``depth`` blocks for each stage: a quarter of the blocks per stage."""
    return {stage: -(-depth * quarter // len(STAGES)) - 1 for quarter, stage in enumerate(STAGES, 1)}


@dataclass(frozen=True)
class Pyramid:
    """Resamples the maps of evenly spaced blocks to the strides that heads expect, the earliest to the finest.

    Dense heads on plain transformers read evenly spaced blocks (BEiT: Bao et al., ICLR 2022), so a tap changes only its
    own and later stages. ViTDet (Li et al., ECCV 2022, arXiv 2203.16527) found that a single-stride map resampled to
    four strides serves a detector as well as a hierarchy. Both learn the resampling (transposed convolutions). Here it
    is linear interpolation, so a frozen backbone has no untrained weights; the 1x1 convolutions of a head, which
    commute with it, learn instead.

    Attributes:
        norm: the network's final normalisation, applied to every stage as in DINOv2's dense heads, because features
            between blocks are not normalised. Taps come before it.
        patch: pixels per side of a patch.
    """

    norm: nn.Module
    patch: int

    def __call__(self, maps: OrderedDict[str, Tensor], size: tuple[int, int]) -> OrderedDict[str, Tensor]:
        """Map ``(B, C, h, w)`` at the stride of the patches to ``stage<n>: (B, C, ceil(H / 2**n), ceil(W / 2**n))``.

        Args:
            maps: maps by stage name.
            size: height and width of the images before padding to whole patches.
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
    """Return the matrix ``(new_n, n)`` that linearly interpolates n cells of one stride to cells of another stride.

    Both grids start at the same pixel, so boxes keep their position for any strides; the filter is wider for a coarser
    stride (antialiasing). ``torch.nn.functional.interpolate`` does the same for integer ratios, but drops a last cell
    that the image fills only partly, and has no deterministic gradient on a GPU.
    """
    ratio = new_stride / stride
    centres = (torch.arange(new_n)[:, None] + 0.5) * ratio - 0.5
    weights = (1 - (torch.arange(n) - centres).abs() / max(ratio, 1)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)
