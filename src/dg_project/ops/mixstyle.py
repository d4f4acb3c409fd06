"""MixStyle (Zhou et al., ICLR 2021): mix the feature statistics of two images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mix_style(features: Tensor, partner: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Mix the style of each image with that of its partner.

    ``sigma_mix * (F - mu) / sigma + mu_mix`` with ``mu_mix = w mu + (1 - w) mu[partner]``, the same for sigma; mu and
    sigma are the mean and deviation of one channel over its positions, without gradient.

    Args:
        features: ``(N, C, H, W)``.
        partner: ``(N,)`` row of the partner.
        weight: ``(N,)`` share of the image's own style.
        eps: added to the variance.
    """
    mean = features.mean((2, 3), keepdim=True).detach()
    deviation = (features.var((2, 3), keepdim=True) + eps).sqrt().detach()
    own = weight.view(-1, 1, 1, 1)
    mixed_mean = own * mean + (1 - own) * mean[partner]
    mixed_deviation = own * deviation + (1 - own) * deviation[partner]
    return (features - mean) / deviation * mixed_deviation + mixed_mean


class StyleMixer(nn.Module):
    """Mix the style of each image with that of a random one in the batch; identity outside training."""

    def __init__(self, p: float, alpha: float) -> None:
        super().__init__()
        self.p, self.beta = p, torch.distributions.Beta(alpha, alpha)

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``(N, C, H, W)`` to the same shape."""
        if not self.training or torch.rand(()).item() >= self.p:
            return features
        partner = torch.randperm(len(features)).to(features.device)
        weight = self.beta.sample((len(features),)).to(features)
        return mix_style(features, partner, weight)
