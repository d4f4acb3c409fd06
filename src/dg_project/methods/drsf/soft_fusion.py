"""Soft fusion of images: a pseudo image between its source image and itself, before any network has seen it.

The paper fuses features of the last stage (``mdsf``), for which a batch holds images of one scene side by side. Fused
pixels need no second row, so a step keeps as many scenes as naive mixing has. All of this file is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dg_project.data.batches import Batch

Look = Literal["pseudo", "blend", "detail"]
FAINTEST, LEVEL = 0.3, 1 / 255
"""Least share of the source's detail that is kept, and the deviation that counts as no detail."""


def soft_fusion(batch: Batch, looks: list[Look], scale: int, n_domains: int) -> tuple[Batch, Tensor]:
    """Show every pseudo image under one of the ``looks``, drawn for each row.

    ``pseudo`` leaves it as it is. ``blend`` shows ``λ x + (1 - λ) x0`` with its source image ``x0``, λ uniform:
    weather of any strength. ``detail`` is ``restore_detail``.

    Args:
        batch: rows without an origin, such as source images, stay as they are.
        looks: what to choose from.
        scale: see ``restore_detail``.
        n_domains: 1 + K.

    Returns:
        The batch with its new images and weights, and the domain labels ``(B, 1 + K)`` of its rows: a blend belongs to
        its pseudo domain by ``λ`` and to the source by the rest.
    """
    labels = F.one_hot(batch.domain_id, n_domains).float()
    if batch.origins is None or looks == ["pseudo"]:
        return batch, labels
    images, share = list(batch.images), torch.ones(len(batch))
    for row, origin in enumerate(batch.origins):
        if origin is None:
            continue
        look = looks[int(torch.randint(len(looks), ()))]
        if look == "blend":
            share[row] = torch.rand(())
            images[row] = torch.lerp(origin, images[row], share[row].item())
        elif look == "detail":
            images[row] = restore_detail(images[row], origin, scale)
    share = share.to(labels.device)
    source = F.one_hot(torch.zeros_like(batch.domain_id), n_domains).float()
    weight = torch.lerp(torch.ones_like(batch.weight), batch.weight, share)
    return replace(batch, images=images, weight=weight), torch.lerp(source, labels, share[:, None])


def restore_detail(image: Tensor, origin: Tensor, scale: int) -> Tensor:
    """Return ``low(x) + g (x0 - low(x0))``: the colours of ``image`` with the detail of ``origin``.

    An image autoencoder blurs what is finer than its grid, and small objects with it, which no weather does.
    ``g = clip(σ(x) / σ(x0), 0.3, 1)`` follows the local deviation σ of the detail, so what fog or night has
    swallowed stays faint.

    Args:
        image: pseudo image (3, H, W), 0..1.
        origin: the source image that it was made from.
        scale: pixels; what is finer counts as detail.
    """
    low = _coarse(image, scale)
    fine, fine0 = image - low, origin - _coarse(origin, scale)
    gain = (_deviation(fine, scale) / (_deviation(fine0, scale) + LEVEL)).clamp(FAINTEST, 1.0)
    return (low + gain * fine0).clamp(0, 1)


def _deviation(fine: Tensor, scale: int) -> Tensor:
    """Return the root mean square (1, H, W) of detail around every position."""
    return _coarse(fine.square().mean(0, keepdim=True), 4 * scale).sqrt()


def _coarse(image: Tensor, scale: int) -> Tensor:
    """Return the part of an image (C, H, W) that is coarser than ``scale`` pixels."""
    size = [max(1, round(side / scale)) for side in image.shape[-2:]]
    small = F.interpolate(image[None], size, mode="bilinear", antialias=True)
    return F.interpolate(small, image.shape[-2:], mode="bilinear")[0]
