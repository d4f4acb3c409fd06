"""LFME (Chen et al., NeurIPS 2024, arXiv 2410.17020): one expert per domain guides the logits of the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dg_project.config import Params, Task
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.erm import ERM
from dg_project.tasks.base import Inputs, TaskModel
from dg_project.tasks.classification import Classifier, true_labels


class LFMEParams(Params):
    """Weight of the experts' guidance."""

    lambda_guide: float = Field(0.1, ge=0, description="weight of the squared distance to the expert's softmax")


def guidance_loss(logits: Tensor, expert: Tensor) -> Tensor:
    """Return ``mean (z - softmax(z_E))²`` over the classes for each row, (N,).

    Args:
        logits: z (N, C) of the model.
        expert: z_E (N, C) of the expert for each row's domain; it gets no gradient.
    """
    return (logits - expert.detach().softmax(1)).square().mean(1)


class LFME(ERM):
    """``L = CE + λ MSE(z, softmax z_E)``, and ``CE`` of each expert on its own domain. Experts are not stored."""

    name: ClassVar[str] = "lfme"
    needs: ClassVar[Needs] = Needs(other_batches=("mixed",), several_domains=True)
    Params: ClassVar[type[Params]] = LFMEParams
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    training_only: ClassVar[tuple[str, ...]] = ("experts",)
    params: LFMEParams
    model: Classifier

    def __init__(self, model: TaskModel, params: LFMEParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.experts = nn.ModuleList(copy.deepcopy(model) for _ in domains)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trainable parameters; the experts' backbones count as ``backbone``."""
        bodies = [self.model.backbone, *(expert.get_submodule("backbone") for expert in self.experts)]
        backbone = [weight for body in bodies for weight in body.parameters() if weight.requires_grad]
        known = {id(weight) for weight in backbone}
        return {"backbone": backbone,
                "head": [weight for weight in self.parameters() if weight.requires_grad and id(weight) not in known]}

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the loss of the model, the guidance loss, and the loss of the experts."""
        inputs = self.model.prepare(batch.images, batch.targets)
        logits = self.model.logits(self.model.neck(self.model.features(inputs.images)))
        expert = self._expert_logits(inputs, batch.domain_id)
        own, others = (F.cross_entropy(z, true_labels(inputs), reduction="none") for z in (logits, expert))
        guide = guidance_loss(logits, expert)
        return {"loss_classification": (own * batch.weight).mean(),
                "loss_guide": self.params.lambda_guide * (guide * batch.weight).mean(),
                "loss_experts": (others * batch.weight).mean()}

    def _expert_logits(self, inputs: Inputs, domain_id: Tensor) -> Tensor:
        """Return the logits (N, C) of each row from the expert of its domain."""
        order, answers = [], []
        for domain in domain_id.unique().tolist():
            rows = (domain_id == domain).nonzero().flatten()
            expert = self.experts[domain]
            assert isinstance(expert, Classifier)
            answers.append(expert.logits(expert.neck(expert.features(inputs.images[rows]))))
            order.append(rows)
        return torch.cat(answers)[torch.cat(order).argsort()]
