"""Adaptive trust (ours): how much a pseudo domain is worth is estimated while the model trains.

``docs/methods/drsf.md`` has the equations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dg_project.data.dataset import ManifestDataset, target_to
from dg_project.data.images import to_float
from dg_project.methods.augmented import augment
from dg_project.ops.modes import evaluating
from dg_project.tasks.base import Features, Inputs, TaskModel

MEMORY = 0.95
"""Factor by which older rows count less at each measurement."""
FLOOR = 0.1
"""Least trust, so that a domain is still shown and can win trust back."""
FROM, EVERY = 0.1, 5
"""Share of the training before the first measurement, when gradients say little; batches between two."""
IMAGES = 6
"""Source images that give the evidence of a measurement."""
CHANGES = 3
"""Most changes of such an image."""


class Trust(nn.Module):
    """Trust in each domain, from the agreement of its gradients with those of changed source images.

    The evidence is the gradient ``g`` of the task loss on source images under strong photometric changes: their labels
    are true, and they do not look like the source. A row i agrees with it by ``a_i = ⟨∇ loss_i, g⟩``, which is positive
    if learning the row also lowers the loss on the evidence (as in Ren et al., "Learning to Reweight Examples for
    Robust Deep Learning", ICML 2018). Only gradients of the head count.

    With ``m_k`` the mean of ``a / mean |a|`` over ``n_k`` rows of domain k, its trust is what the evidence does not
    exclude: ``clip((m_k + 1/√n_k) / max(m_0, 1/√n_0), 0.1, 1)``; domain 0 is the source.

    Args:
        n_domains: 1 + K.
    """

    batches: Tensor
    agreement: Tensor
    rows: Tensor

    def __init__(self, n_domains: int) -> None:
        super().__init__()
        self.images: ManifestDataset | None = None
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("agreement", torch.zeros(n_domains))
        self.register_buffer("rows", torch.zeros(n_domains))

    def forward(self) -> Tensor:
        """Return the trust in each domain, (1 + K,) in [0.1, 1]; that in the source is 1."""
        mean, doubt = self.agreement / self.rows.clamp(min=1.0), self.rows.clamp(min=1e-6).rsqrt()
        trust = (mean + doubt) / torch.maximum(mean[0], doubt[0])
        return torch.cat([trust.new_ones(1), trust[1:].clamp(FLOOR, 1.0)])

    def update(self, model: TaskModel, domain_id: Tensor, maps: Features, inputs: Inputs, progress: float) -> None:
        """Measure the rows of every fifth batch, after the first tenth of the training.

        Args:
            model: task model.
            domain_id: ``(B,)``, the domain that each row shows.
            maps: from ``neck``, of all rows.
            inputs: prepared rows.
            progress: completed share of the training.
        """
        self.batches += 1
        if self.batches % EVERY or progress < FROM or self.images is None:
            return
        found = row_agreement(model, maps, inputs, evidence_gradient(model, self.images))
        shown = F.one_hot(domain_id, len(self.rows)).to(found)
        self.agreement.mul_(MEMORY).add_(found / found.abs().mean().clamp(min=1e-12) @ shown)
        self.rows.mul_(MEMORY).add_(shown.sum(0))


def head_of(model: TaskModel) -> list[nn.Parameter]:
    """Return the trained weights outside the backbone."""
    return [weight for name, weight in model.named_parameters()
            if weight.requires_grad and not name.startswith("backbone.")]


def evidence_gradient(model: TaskModel, images: ManifestDataset) -> Tensor:
    """Return the gradient of the task loss on a few changed source images with respect to the head, flat (P,)."""
    drawn = [images[int(index)] for index in torch.randint(len(images), (IMAGES,))]
    device = next(model.parameters()).device
    with torch.no_grad(), evaluating(model.backbone):
        inputs = model.prepare([augment(to_float(image), CHANGES).to(device) for image, _ in drawn],
                               [target_to(target, device) for _, target in drawn])
        maps = model.neck(model.features(inputs.images))
    weight = torch.ones(len(drawn), device=device)
    return torch.cat([part.flatten() for part in _gradients(model, maps, inputs, weight)])


def row_agreement(model: TaskModel, maps: Features, inputs: Inputs, evidence: Tensor) -> Tensor:
    """Return ``⟨∇ loss_i, g⟩`` of every row i with respect to the head, (N,).

    The loss is linear in the rows' weights, so the derivative of ``⟨∇ Σ w_i loss_i, g⟩`` by ``w_i`` is that of row i.

    Args:
        model: task model.
        maps: from ``neck``, of N rows.
        inputs: prepared rows.
        evidence: the gradient g (P,).
    """
    weight = torch.ones(len(inputs), device=evidence.device, requires_grad=True)
    detached = {name: value.detach() for name, value in maps.items()}
    gradients = _gradients(model, detached, inputs, weight, create_graph=True)
    sizes = [part.numel() for part in gradients]
    agreement = torch.stack([(part.flatten() * one).sum()
                             for part, one in zip(gradients, evidence.split(sizes), strict=True)]).sum()
    found, = torch.autograd.grad(agreement, weight)
    return found


def _gradients(model: TaskModel, maps: Features, inputs: Inputs, weight: Tensor,
               create_graph: bool = False) -> Sequence[Tensor]:
    """Return the gradients of the summed task losses with respect to ``head_of``; those of a neck are 0."""
    total = torch.stack(list(model.losses(maps, inputs, weight).values())).sum()
    return torch.autograd.grad(total, head_of(model), create_graph=create_graph, materialize_grads=True)
