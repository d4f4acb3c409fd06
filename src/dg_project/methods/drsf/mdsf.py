"""Multi-pseudo-domain Soft Fusion: adversarial training on a continuum between the domains.

``docs/methods.md`` says which of these formulas the paper documents and which are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dg_project.training.reversal import reverse_gradient


def mixing_weights(pair_id: Tensor, domain_id: Tensor, n_domains: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Draw ``lambda ~ Dirichlet(alpha)`` over the domains of every source image that several rows come from.

    A batch may hold only some of the domains of a source image; the weights of the others are 0.

    Args:
        pair_id: ``(B,)`` equal for rows that come from one source image.
        domain_id: ``(B,)``.
        n_domains: 1 + K.
        alpha: concentration; 1 is uniform on the simplex.

    Returns:
        ``(G, B)`` weights of the rows in each of G fused images (rows sum to 1), and ``(G, 1 + K)`` soft domain labels.
    """
    device = pair_id.device
    pair_id, domain_id = pair_id.cpu(), domain_id.cpu()  # an accelerator would be waited for at every question below
    weights, labels = [torch.zeros(0, len(pair_id))], [torch.zeros(0, n_domains)]
    for pair in pair_id.unique():
        rows = torch.where(pair_id == pair)[0]
        present = domain_id[rows].unique()
        if len(present) < 2:
            continue
        # A row that comes twice adds nothing: one row per domain is fused.
        first = torch.stack([rows[domain_id[rows] == domain][0] for domain in present])
        share = torch.distributions.Dirichlet(torch.full((len(present),), alpha)).sample()
        weights.append(torch.zeros(1, len(pair_id)).index_copy(1, first, share[None]))
        labels.append(torch.zeros(1, n_domains).index_copy(1, present, share[None]))
    return torch.cat(weights).to(device), torch.cat(labels).to(device)


def fuse(rows: Tensor, weights: Tensor) -> Tensor:
    """Return ``G_mix = sum_d lambda_d G^d``: rows ``(B, ...)`` and weights ``(G, B)`` to ``(G, ...)``."""
    return torch.einsum("gb,b...->g...", weights, rows)


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``CE(softmax(logits), labels)`` of each row, the mean over its positions.

    Args:
        logits: ``(N, D)`` or ``(N, D, H, W)``.
        labels: ``(N, D)`` probabilities.

    Returns:
        ``(N,)``.
    """
    log_p = logits.log_softmax(1).flatten(2) if logits.ndim > 2 else logits.log_softmax(1)[..., None]
    return -(labels[..., None] * log_p).sum(1).mean(-1)


def adversarial_loss(logits: Tensor, fused_logits: Tensor, domain_id: Tensor, fused_labels: Tensor) -> Tensor:
    """Return ``L_adv = sum_d CE(D(G^d), onehot d) + CE(D(G_mix), lambda)``, each term a mean over its rows.

    Args:
        logits: ``(B, 1 + K)`` or ``(B, 1 + K, H, W)``, of single-domain features.
        fused_logits: the same for G fused features.
        domain_id: ``(B,)``.
        fused_labels: ``(G, 1 + K)``.
    """
    onehot = F.one_hot(domain_id, fused_labels.shape[1]).to(logits.dtype)
    rows = onehot.sum(0)[domain_id]  # of each row's own domain
    loss = (soft_cross_entropy(logits, onehot) / rows).sum()
    return loss + soft_cross_entropy(fused_logits, fused_labels).mean() if len(fused_labels) else loss


class ImageDiscriminator(nn.Sequential):
    """Which domain is it, position by position: conv 1x1 to 512, ReLU, conv 1x1 to 1 + K."""

    def __init__(self, channels: int, n_domains: int) -> None:
        super().__init__(nn.Conv2d(channels, 512, 1), nn.ReLU(), nn.Conv2d(512, n_domains, 1))


class InstanceDiscriminator(nn.Sequential):
    """Which domain is it, object by object: three fully connected layers."""

    def __init__(self, channels: int, n_domains: int, hidden: int = 256) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                         nn.Linear(hidden, n_domains))


class Adversary(nn.Module):
    """A discriminator that learns the domain of features, which learn to hide it.

    Args:
        discriminator: maps features ``(N, ...)`` to logits ``(N, 1 + K, ...)``.
        weight: of the reversed gradient that the features get; the discriminator itself learns at full weight.
    """

    def __init__(self, discriminator: nn.Module, weight: float) -> None:
        super().__init__()
        self.discriminator, self.weight = discriminator, weight

    def forward(self, features: Tensor, domain_id: Tensor, mix: Tensor, labels: Tensor) -> Tensor:
        """Return ``L_adv`` of features ``(B, ...)`` and of their ``mix`` (G, B) with soft ``labels`` (G, 1 + K)."""
        hidden = reverse_gradient(features, self.weight)
        return adversarial_loss(self.discriminator(hidden), self.discriminator(fuse(hidden, mix)), domain_id, labels)
