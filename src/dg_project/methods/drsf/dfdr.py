"""Discriminative Feature Decoupling and Reassembly: split features into a shared and a private part.

``docs/methods/drsf.md`` marks which formulas the paper documents and which are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dg_project.ops import adain


def channel_entropy(features: Tensor) -> Tensor:
    """Return ``e_c = -sum p log p / log(HW)`` in [0, 1] with ``p`` the softmax of channel c over the positions.

    A channel focused on a few positions has low entropy, a diffuse one (style, noise) has high entropy.

    Args:
        features: ``(B, C, H, W)``.

    Returns:
        ``(B, C)``.
    """
    log_p = features.flatten(2).log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1) / math.log(log_p.shape[-1])


@dataclass
class Parts:
    """The parts of one batch in DFDR, all ``(B, C, H, W)``.

    Attributes:
        feature: the stage's output ``F``.
        shared: ``F_sha = A * F``.
        private: ``F_pri = (1 - A) * F``.
        reassembled: ``F~ = F_sha + r * F_pri``.
    """

    feature: Tensor
    shared: Tensor
    private: Tensor
    reassembled: Tensor

    def rows(self, rows: Tensor) -> Parts:
        """Return the given rows (int64 indices) of every part."""
        return Parts(self.feature[rows], self.shared[rows], self.private[rows], self.reassembled[rows])


@dataclass
class Exchange:
    """Exchange of private parts between the rows of a batch.

    Attributes:
        private_from: ``(B,)`` row whose private part each row is reassembled with; None: its own.
        style_from: ``(B,)`` row whose private part gives its style to that part, possibly its own row; None: no change
            of style.
        parts: parts of the last forward pass; None before it.
    """

    private_from: Tensor | None = None
    style_from: Tensor | None = None
    parts: Parts | None = None


def _gate(inputs: int, channels: int, reduction: int) -> nn.Sequential:
    hidden = max(8, channels // reduction)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())


class DFDR(nn.Module):
    """Decoupling and reassembly of one stage's output, with the same weights for all domains.

    ``A = sigmoid(W2 ReLU(W1 [GAP F; e]))``, ``r = sigmoid(V2 ReLU(V1 [GAP F_sha; GAP F_pri]))``.

    Args:
        channels: channels of the stage.
        reduction: the gates' hidden layers have ``channels / reduction`` units.

    Attributes:
        exchange: the exchange of the current ``exchanging`` block; None outside one.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.decoupling = _gate(2 * channels, channels, reduction)
        self.recalibration = _gate(2 * channels, channels, reduction)
        self.exchange: Exchange | None = None
        self._start_near_identity()

    def _start_near_identity(self) -> None:
        """Initialise ``r`` to sigmoid(4) = 0.98 for every input.

        With ``r = 1`` the parts sum to ``F`` for any gate ``A``, so the pretrained stages downstream first see (almost)
        the features they were trained on, and learn from the losses to do without the private part.
        """
        last = self.recalibration[2]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.constant_(last.bias, 4.0)

    @contextmanager
    def exchanging(self, private_from: Tensor | None = None, style_from: Tensor | None = None) -> Iterator[Exchange]:
        """Exchange private parts between the rows of the forward pass in this block, and keep its parts.

        Args:
            private_from: see ``Exchange``.
            style_from: see ``Exchange``.
        """
        self.exchange = Exchange(private_from, style_from)
        try:
            yield self.exchange
        finally:
            self.exchange = None

    def forward(self, features: Tensor) -> Tensor:
        """Map the stage's output ``(B, C, H, W)`` to ``F~`` of the same shape."""
        pooled = _pool(features)
        attention = self.decoupling(torch.cat([pooled, channel_entropy(features)], 1))
        # GAP(A * F) = A GAP(F): a gate is one number per channel.
        recalibration = self.recalibration(torch.cat([attention * pooled, (1 - attention) * pooled], 1))
        attention, recalibration = attention[..., None, None], recalibration[..., None, None]
        exchange = self.exchange
        if exchange is None and not self.training:  # one pass over the map is enough when no part is needed
            return (attention + recalibration * (1 - attention)) * features
        shared = attention * features
        private = features - shared
        if exchange is None:
            return shared + recalibration * private
        taken = private if exchange.private_from is None else private[exchange.private_from]
        if exchange.style_from is not None:
            taken = adain.recombine(private[exchange.style_from].detach(), taken)
        exchange.parts = Parts(features, shared, private, shared + recalibration * taken)
        return exchange.parts.reassembled


def _pool(features: Tensor) -> Tensor:
    """Global average pooling: ``(B, C, H, W)`` to ``(B, C)``."""
    return features.mean((2, 3))


def align_loss(shared: Tensor, private: Tensor, pair_id: Tensor, domain_id: Tensor, gamma: float = 0.1) -> Tensor:
    """Pull the shared parts of a pair together, and the shared and private parts of one image apart.

    ``1/K sum_k ||n(F_sha^s) - n(F_sha^k)||^2 + gamma mean cos^2(GAP F_sha, GAP F_pri)``; n divides by the L2 norm over
    the channels of a position. The first term is the mean over the pseudo rows of the batch. A row is compared position
    by position with its source image if that is in the batch, else its pooled feature with the mean of the source rows.

    Args:
        shared: ``(B, C, H, W)``.
        private: ``(B, C, H, W)``.
        pair_id: ``(B,)``, equal for rows of the same geometry.
        domain_id: ``(B,)``, 0 is the source.
        gamma: weight of the second term.
    """
    cosine = F.cosine_similarity(_pool(shared), _pool(private), dim=1)
    loss = gamma * cosine.square().mean()
    source, pseudo = (torch.where(rows)[0] for rows in (domain_id == 0, domain_id != 0))
    if not len(source) or not len(pseudo):
        return loss
    same = pair_id[pseudo, None] == pair_id[source]
    paired, partner = same.any(1), source[same.int().argmax(1)]
    distance = torch.cat([_position_distance(shared, partner[paired], pseudo[paired]),
                          _pooled_distance(shared, source, pseudo[~paired])])
    return loss + distance.mean()


def _position_distance(shared: Tensor, source: Tensor, pseudo: Tensor) -> Tensor:
    """Return the mean squared distance over the positions of each pair (P,)."""
    return (F.normalize(shared[source], dim=1) - F.normalize(shared[pseudo], dim=1)).square().sum(1).mean((1, 2))


def _pooled_distance(shared: Tensor, source: Tensor, pseudo: Tensor) -> Tensor:
    """Return the squared distance (P,) of each pseudo row's pooled unit feature to the source rows' mean."""
    unit = F.normalize(_pool(shared), dim=1)
    return (unit[pseudo] - unit[source].mean(0)).square().sum(1)


def ranking_loss(reassembled: Tensor, feature: Tensor, private: Tensor) -> Tensor:
    """Rank the mean prediction entropies (scalars): ``softplus(H~ - H_F) + softplus(H_F - H_pri)``.

    The reassembled feature should be more certain than the stage's output, and that more certain than the private part.
    """
    return F.softplus(reassembled - feature) + F.softplus(feature - private)
