"""DADG (Chen et al., arXiv 2011.00444): a domain adversary, and meta-validation on a left-out domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from dg_project.config import Params, Task
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.erm import ERM
from dg_project.ops.gradient_reversal import reverse_gradient
from dg_project.tasks.base import TaskModel
from dg_project.tasks.classification import Classifier, true_labels

Weights = dict[str, Tensor]


class DADGParams(Params):
    """Weights of the adversary and of the validation, and the inner step."""

    lambda_adv: float = Field(0.1, ge=0, description="weight of the domain adversary")
    hidden: int = Field(128, ge=1, description="width of the domain adversary")
    lambda_validation: float = Field(1.0, ge=0, description="weight of the loss on the left-out domain")
    inner_lr: float = Field(0.01, ge=0, description="learning rate of the inner step on the other domains")
    second_order: bool = Field(False, description="differentiate through the inner step; else it is a constant shift")


def leave_out_domain(domain_id: Tensor) -> Tensor:
    """Return (N,) bool: the rows of one domain drawn at random, or none if all rows (N,) have the same domain."""
    present = domain_id.unique()
    if len(present) < 2:
        return torch.zeros_like(domain_id, dtype=torch.bool)
    return domain_id == present[int(torch.randint(len(present), ()))]


def inner_step(loss: Tensor, weights: Weights, lr: float, second_order: bool) -> Weights:
    """Return ``θ' = θ - lr ∂loss/∂θ``, differentiable in θ; the graph is kept for the outer step.

    Args:
        loss: scalar function of the weights.
        weights: θ by name; weights that the loss does not depend on are returned unchanged.
        lr: learning rate of the step.
        second_order: whether to differentiate through ``∂loss/∂θ``, else it is a constant.
    """
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=second_order, retain_graph=True,
                                 allow_unused=True)
    return {name: weight if slope is None else weight - lr * slope
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)}


class DADG(ERM):
    """``L = L_T(θ) + λ_val CE_V(θ')``, ``L_T = CE_T + λ_adv CE(D(reversed F x), d)``, ``θ' = θ - α ∂L_T/∂θ``.

    V are the rows of one domain of the batch, drawn at each step, T all others. A batch of a single domain has no V.
    """

    name: ClassVar[str] = "dadg"
    needs: ClassVar[Needs] = Needs(other_batches=("mixed",), several_domains=True, inner_gradients=True)
    Params: ClassVar[type[Params]] = DADGParams
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    training_only: ClassVar[tuple[str, ...]] = ("discriminator",)
    params: DADGParams
    model: Classifier

    def __init__(self, model: TaskModel, params: DADGParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.discriminator = nn.Sequential(nn.Linear(model.backbone.channels[model.backbone.last], params.hidden),
                                           nn.ReLU(), nn.Linear(params.hidden, len(domains)))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses on T, and after an inner step the loss on V."""
        params, inputs = self.params, self.model.prepare(batch.images, batch.targets)
        labels, left_out = true_labels(inputs), leave_out_domain(batch.domain_id)
        weights: Weights = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

        def mean(logits: Tensor, classes: Tensor, rows: Tensor) -> Tensor:
            return (F.cross_entropy(logits, classes[rows], reduction="none") * batch.weight[rows]).mean()

        rest = ~left_out
        vectors, logits = self._outputs(weights, inputs.images[rest])
        domains = self.discriminator(reverse_gradient(vectors, 1)).float()
        losses = {"loss_classification": mean(logits, labels, rest),
                  "loss_adv_domain": params.lambda_adv * mean(domains, batch.domain_id, rest)}
        if not left_out.any():
            return losses | {"loss_validation": logits.new_zeros(())}
        after = inner_step(torch.stack(list(losses.values())).sum(), weights, params.inner_lr, params.second_order)
        _, logits = self._outputs(after, inputs.images[left_out])
        return losses | {"loss_validation": params.lambda_validation * mean(logits, labels, left_out)}

    def _outputs(self, weights: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, C) and logits (N, classes) of prepared images under the given weights."""
        body, head = ({name.removeprefix(part): weight for name, weight in weights.items() if name.startswith(part)}
                      for part in ("backbone.", "head."))
        vectors = self.model.vectors(self.model.neck(functional_call(self.model.backbone, body, (images,))))
        return vectors, functional_call(self.model.head, head, (vectors,)).float()
