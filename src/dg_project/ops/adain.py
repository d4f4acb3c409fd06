"""AdaIN decomposition: channel mean and deviation are the style of a feature map, the normalised map its content.

A feature map is any (C, H, W): pixels (recombining is then colour transfer) or the latents of a VAE.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``μ`` and ``σ`` (C, 1, 1) over the positions of ``features`` (C, H, W)."""
    return features.mean((-2, -1), keepdim=True), features.std((-2, -1), correction=0, keepdim=True)


def normalise(features: Tensor) -> Tensor:
    """Return the content ``(F − μ) / (σ + ε)`` of ``features`` (C, H, W)."""
    mean, deviation = statistics(features)
    return (features - mean) / (deviation + EPSILON)


def recombine(style: Tensor, content: Tensor) -> Tensor:
    """Return ``σ(style) · normalise(content) + μ(style)`` for two feature maps (C, H, W)."""
    mean, deviation = statistics(style)
    return deviation * normalise(content) + mean


def style_distance(features: Tensor, other: Tensor) -> float:
    """Return ``‖(μ, σ) − (μ', σ')‖₂`` of two feature maps (C, H, W)."""
    one, two = (torch.cat([part.flatten() for part in statistics(x)]) for x in (features, other))
    return float((one - two).norm())


def content_similarity(features: Tensor, other: Tensor) -> float:
    """Return the cosine similarity of two normalised feature maps (C, H, W), in −1..1."""
    one, two = (normalise(x).flatten() for x in (features, other))
    return float(torch.nn.functional.cosine_similarity(one, two, dim=0))
