"""Soft fusion of images: blend a pseudo image with its source image before the network sees it.

The paper fuses features of the last stage (``mdsf``), which needs several images of one scene in a batch. Fused pixels
need no second row, so a step has as many scenes as naive mixing. All of this file is ours.
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
"""Least share of the source's detail that is kept, and the deviation regarded as no detail."""


def soft_fusion(batch: Batch, looks: list[Look], scale: int, n_domains: int,
                trust: Tensor | None = None) -> tuple[Batch, Tensor]:
    """Show every pseudo image with one of the ``looks``, drawn for each row.

    ``pseudo`` keeps it. ``blend`` shows ``λ x + (1 - λ) x0`` with its source image ``x0``, λ uniform: weather of any
    strength. ``detail`` is ``restore_detail``. With a ``trust`` of t in its domain, a row shows its source image with
    probability ``1 - t``.

    Args:
        batch: rows without an origin, such as source images, are not changed.
        looks: looks to choose from.
        scale: see ``restore_detail``.
        n_domains: 1 + K.
        trust: trust in each domain (1 + K,); None trusts all.

    Returns:
        The batch with new images and weights (and domain 0 for rows that show their source image), and the domain
        labels ``(B, 1 + K)`` of its rows: a blend belongs to its pseudo domain by ``λ`` and to the source by ``1 - λ``.
    """
    labels = F.one_hot(batch.domain_id, n_domains).float()
    if batch.origins is None or (looks == ["pseudo"] and trust is None):
        return batch, labels
    images, share = list(batch.images), torch.ones(len(batch))
    kept = None if trust is None else trust.cpu()[batch.domain_id.cpu()]
    for row, origin in enumerate(batch.origins):
        if origin is None:
            continue
        if kept is not None and torch.rand(()) >= kept[row]:
            images[row], share[row] = origin, 0.0
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
    domain_id = batch.domain_id.masked_fill(share == 0, 0)
    return replace(batch, images=images, weight=weight, domain_id=domain_id), torch.lerp(source, labels, share[:, None])


def restore_detail(image: Tensor, origin: Tensor, scale: int) -> Tensor:
    """Return ``low(x) + g (x0 - low(x0))``: the colours of ``image`` with the detail of ``origin``.

    An image autoencoder blurs structure finer than its grid, including small objects; weather does not.
    ``g = clip(σ(x) / σ(x0), 0.3, 1)`` follows the local deviation σ of the detail, so detail hidden by fog or night
    stays faint.

    Args:
        image: pseudo image (3, H, W), 0..1.
        origin: its source image.
        scale: pixels; finer structure counts as detail.
    """
    low = _coarse(image, scale)
    fine, fine0 = image - low, origin - _coarse(origin, scale)
    gain = (_deviation(fine, scale) / (_deviation(fine0, scale) + LEVEL)).clamp(FAINTEST, 1.0)
    return (low + gain * fine0).clamp(0, 1)


def _deviation(fine: Tensor, scale: int) -> Tensor:
    """Return the local root mean square (1, H, W) of the detail."""
    return _coarse(fine.square().mean(0, keepdim=True), 4 * scale).sqrt()


def _coarse(image: Tensor, scale: int) -> Tensor:
    """Return the structure of an image (C, H, W) coarser than ``scale`` pixels."""
    size = [max(1, round(side / scale)) for side in image.shape[-2:]]
    small = F.interpolate(image[None], size, mode="bilinear", antialias=True)
    return F.interpolate(small, image.shape[-2:], mode="bilinear")[0]
