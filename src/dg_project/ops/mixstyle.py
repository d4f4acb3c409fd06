"""MixStyle (Zhou et al., ICLR 2021): feature statistics between those of two images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mix_style(features: Tensor, partner: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Give every image a style between its own and its partner's.

    ``sigma_mix * (F - mu) / sigma + mu_mix`` with ``mu_mix = w mu + (1 - w) mu[partner]``, and so for sigma; mu and
    sigma are the mean and deviation over the positions of one channel, through which no gradient flows.

    Args:
        features: ``(N, C, H, W)``.
        partner: ``(N,)`` row whose style is mixed in.
        weight: ``(N,)`` share of the own style.
        eps: added to the variance.
    """
    mean = features.mean((2, 3), keepdim=True).detach()
    deviation = (features.var((2, 3), keepdim=True) + eps).sqrt().detach()
    own = weight.view(-1, 1, 1, 1)
    mixed_mean = own * mean + (1 - own) * mean[partner]
    mixed_deviation = own * deviation + (1 - own) * deviation[partner]
    return (features - mean) / deviation * mixed_deviation + mixed_mean


class StyleMixer(nn.Module):
    """Mixes the style of each image of a batch with that of a random other one; the identity outside training."""

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
