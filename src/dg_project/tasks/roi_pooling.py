"""RoIAlign as two matrix products, for CPUs: bilinear sampling is separable, ``P = W_y F W_x^T`` for every box.

torchvision's CPU gradient sums samples in a single thread. The matrix products give the same numbers (up to rounding)
and gradients in a quarter of the time. On an accelerator torchvision's own kernel runs, which sums gradients in any
order: for deterministic gradients torchvision would compile another one for 95 seconds.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import _setup_scales

from dg_project.core.device import deterministic


class RoIPooling(MultiScaleRoIAlign):
    """RoI pooling with the arguments of ``MultiScaleRoIAlign``."""

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pool boxes (n, 4) of every image from maps (N, C, h, w) to ``(sum of boxes, C, side, side)``."""
        maps = [x[name] for name in self.featmap_names]
        if maps[0].device.type != "cpu":
            with deterministic(False):
                return cast(Tensor, super().forward(x, boxes, image_shapes))
        scales, mapper = _setup_scales(maps, image_shapes, self.canonical_scale, self.canonical_level)
        levels = (mapper(boxes) if len(maps) > 1 else torch.zeros(sum(map(len, boxes)), dtype=torch.int64))
        chosen, rows, first = [], [], 0
        for image, own in enumerate(boxes):
            of_image = levels[first : first + len(own)]
            for level in of_image.unique().tolist():
                here = torch.where(of_image == level)[0]
                chosen.append(self._pool(maps[level][image], own[here] * scales[level]))
                rows.append(first + here)
            first += len(own)
        if not rows:
            return maps[0].new_zeros(0, maps[0].shape[1], *self.output_size)
        return torch.cat(chosen).index_select(0, torch.cat(rows).argsort()).permute(0, 3, 1, 2)

    def _pool(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Pool boxes (n, 4), in cells, from one map (C, h, w) to ``(n, side, side, C)``."""
        last = features.permute(1, 2, 0).float()
        size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
        across, down = (cell_weights(boxes[:, axis], size[:, axis], self.output_size[1 - axis], self.sampling_ratio,
                                     last.shape[1 - axis]) for axis in (0, 1))
        with torch.autocast("cpu", enabled=False):
            strips = (down.flatten(0, 1) @ last.flatten(1)).view(*down.shape[:2], *last.shape[1:])
            return across[:, None] @ strips


def cell_weights(start: Tensor, size: Tensor, cells: int, samples: int, length: int) -> Tensor:
    """Return the matrices ``(n, cells, length)`` that pool n intervals of a line of values.

    A cell is the mean of ``samples`` evenly spaced points, each interpolated linearly between its two neighbours. Up to
    one step beyond its ends the line keeps its end value; farther out it is 0.

    Args:
        start: ``(n,)`` start of each interval.
        size: ``(n,)`` length of each interval.
        cells: cells per interval.
        samples: points per cell.
        length: number of values in the line.
    """
    steps = (torch.arange(cells * samples) + 0.5) / (cells * samples)
    points = start[:, None] + steps * size[:, None]
    known = (points >= -1) & (points <= length)
    distance = (points.clamp(0, length - 1)[..., None] - torch.arange(length)).abs()
    weights = (1 - distance).clamp_min(0) * known[..., None]
    return weights.unflatten(1, (cells, samples)).mean(2)
