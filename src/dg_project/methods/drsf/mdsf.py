"""Multi-pseudo-domain Soft Fusion: adversarial training on a continuum between the domains.

``docs/methods/drsf.md`` marks which formulas the paper documents and which are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dg_project.ops.gradient_reversal import reverse_gradient


def mixing_weights(pair_id: Tensor, domain_id: Tensor, alpha: float) -> Tensor:
    """Draw ``lambda ~ Dirichlet(alpha)`` over the domains of every source image that several rows come from.

    A batch may contain only some of the domains of a source image; the weights of the others are 0.

    Args:
        pair_id: ``(B,)``, equal for rows that come from one source image.
        domain_id: ``(B,)``.
        alpha: concentration; 1 is uniform on the simplex.

    Returns:
        ``(G, B)`` weights of the rows in each of G fused images (rows sum to 1). With domain labels ``(B, 1 + K)`` of
        the rows, ``weights @ labels`` are those of the fused images.
    """
    device = pair_id.device
    pair_id, domain_id = pair_id.cpu(), domain_id.cpu()  # on an accelerator each test below would wait
    weights = [torch.zeros(0, len(pair_id))]
    for pair in pair_id.unique():
        rows = torch.where(pair_id == pair)[0]
        present = domain_id[rows].unique()
        if len(present) < 2:
            continue
        # One row per domain is fused; a repeated row adds nothing.
        first = torch.stack([rows[domain_id[rows] == domain][0] for domain in present])
        share = torch.distributions.Dirichlet(torch.full((len(present),), alpha)).sample()
        weights.append(torch.zeros(1, len(pair_id)).index_copy(1, first, share[None]))
    return torch.cat(weights).to(device)


def fuse(rows: Tensor, weights: Tensor) -> Tensor:
    """Return ``G_mix = sum_d lambda_d G^d``: rows ``(B, ...)`` and weights ``(G, B)`` to ``(G, ...)``."""
    return torch.einsum("gb,b...->g...", weights, rows)


def domain_log_loss(logits: Tensor) -> Tensor:
    """Return ``-log softmax(logits)``, averaged over the positions of each row.

    Args:
        logits: ``(N, D)`` or ``(N, D, H, W)``.

    Returns:
        ``(N, D)``; multiplied by soft labels and summed over D, it is the cross-entropy.
    """
    loss = -logits.log_softmax(1)
    return loss.flatten(2).mean(-1) if loss.ndim > 2 else loss


def adversarial_loss(logits: Tensor, fused_logits: Tensor, labels: Tensor, fused_labels: Tensor) -> Tensor:
    """Return ``L_adv = sum_d CE(D(G^d), onehot d) + CE(D(G_mix), lambda)``, each term a mean over its rows.

    A row whose image is a fusion belongs to several domains, to each by its share.

    Args:
        logits: ``(B, 1 + K)`` or ``(B, 1 + K, H, W)``.
        fused_logits: logits of the G fused features, of the same form.
        labels: ``(B, 1 + K)`` shares of the domains in each row.
        fused_labels: ``(G, 1 + K)`` shares of the domains in each fused feature.
    """
    # A domain with less than one image in the batch must not count as one image.
    loss = ((labels * domain_log_loss(logits)).sum(0) / labels.sum(0).clamp(min=1)).sum()
    if not len(fused_labels):
        return loss
    return loss + (fused_labels * domain_log_loss(fused_logits)).sum(1).mean()


class ImageDiscriminator(nn.Sequential):
    """Domain classifier for each position: conv 1x1 to 512, ReLU, conv 1x1 to 1 + K."""

    def __init__(self, channels: int, n_domains: int) -> None:
        super().__init__(nn.Conv2d(channels, 512, 1), nn.ReLU(), nn.Conv2d(512, n_domains, 1))


class InstanceDiscriminator(nn.Sequential):
    """Domain classifier for each object: three fully connected layers."""

    def __init__(self, channels: int, n_domains: int, hidden: int = 256) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                         nn.Linear(hidden, n_domains))


class Adversary(nn.Module):
    """A domain discriminator behind a gradient reversal.

    Args:
        discriminator: maps features ``(N, ...)`` to logits ``(N, 1 + K, ...)``.
        weight: weight of the reversed gradient for the features; the discriminator learns at full weight.
    """

    def __init__(self, discriminator: nn.Module, weight: float) -> None:
        super().__init__()
        self.discriminator, self.weight = discriminator, weight

    def forward(self, features: Tensor, labels: Tensor, mix: Tensor) -> Tensor:
        """Return ``L_adv`` of features ``(B, ...)`` with domain labels ``(B, 1 + K)``, and of their mix ``(G, B)``."""
        hidden = reverse_gradient(features, self.weight)
        fused = self.discriminator(fuse(hidden, mix))
        return adversarial_loss(self.discriminator(hidden), fused, labels, mix @ labels)
