"""SagNet (Nam et al., CVPR 2021): classify by content under random styles; an adversary removes the style."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dg_project.config import Params, Task
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs, Phase
from dg_project.methods.erm import ERM
from dg_project.ops.mixstyle import mix_style
from dg_project.tasks.base import TaskModel
from dg_project.tasks.classification import Classifier, true_labels


class SagNetParams(Params):
    """Weight of the adversary."""

    lambda_adv: float = Field(0.1, ge=0, description="weight of the adversarial loss on the features")
    stage: int = Field(3, ge=1, description="backbone stage after which style or content is randomised")


def randomise_style(features: Tensor) -> Tensor:
    """Return features (N, C, H, W) with a style between their own and another image's (Eq. 2, 3)."""
    partner = torch.randperm(len(features)).to(features.device)
    return mix_style(features, partner, torch.rand(len(features)).to(features))


def randomise_content(features: Tensor) -> Tensor:
    """Return the content of another image in the style of each of the features (N, C, H, W) (Eq. 5)."""
    partner = torch.randperm(len(features)).to(features.device)
    own_style = torch.zeros(len(features)).to(features)
    return mix_style(features[partner], partner.argsort(), own_style)


class Randomiser(nn.Module):
    """Randomises the style or the content of a stage's output inside a block of ``randomising``; else the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.randomise: Callable[[Tensor], Tensor] | None = None

    @contextmanager
    def randomising(self, randomise: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Apply ``randomise`` to the features (N, C, H, W) of every forward pass in this block."""
        self.randomise = randomise
        try:
            yield
        finally:
            self.randomise = None

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to the same shape."""
        return features if self.randomise is None else self.randomise(features)


def uniform_loss(logits: Tensor) -> Tensor:
    """Return (N,): cross-entropy of the softmax of ``logits`` (N, classes) to the uniform distribution (Eq. 7)."""
    return -logits.log_softmax(1).mean(1)


class SagNet(ERM):
    """Three updates per step: features and content head, style head, and features against the style head.

    ``min_F,G CE(G(SR(F x)), y)``, then ``min_S CE(S(CR(F x)), y)``, then ``min_F λ CE(S(CR(F x)), uniform)`` (doc).
    Ours: styles and contents are exchanged after the last stage, S is one linear layer on the pooled features, the
    statistics get no gradient, and the third update trains all of F, not only its normalisation parameters.
    """

    name: ClassVar[str] = "sagnet"
    needs: ClassVar[Needs] = Needs(other_batches=("mixed",))
    Params: ClassVar[type[Params]] = SagNetParams
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    training_only: ClassVar[tuple[str, ...]] = ("style_head",)
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("content", ("features", "content")), Phase("style", ("style",)), Phase("adversary", ("features",)))
    params: SagNetParams
    model: Classifier

    def __init__(self, model: TaskModel, params: SagNetParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.randomiser = Randomiser()
        model.backbone.tap(f"stage{params.stage}").module = self.randomiser
        self.style_head = nn.Linear(model.backbone.channels[model.backbone.last], len(model.classes))

    def optimizer_groups(self) -> dict[str, dict[str, list[nn.Parameter]]]:
        """Return the parameters of the backbone, the content head and the style head, each with its own optimiser."""
        groups, style = self.parameter_groups(), {id(weight) for weight in self.style_head.parameters()}
        return {"features": {"backbone": groups["backbone"]},
                "content": {"head": [weight for weight in groups["head"] if id(weight) not in style]},
                "style": {"head": [weight for weight in groups["head"] if id(weight) in style]}}

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of the content phase, the only ones of the model that predicts."""
        return self.phase_losses("content", batch, progress)

    def phase_losses(self, phase: str, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return ``loss_classification``, ``loss_style`` or ``loss_adv_style``, depending on the phase."""
        inputs = self.model.prepare(batch.images, batch.targets)
        labels = true_labels(inputs)
        with self.randomiser.randomising(randomise_style if phase == "content" else randomise_content):
            maps = self.model.neck(self.model.features(inputs.images))
        if phase == "content":
            loss = F.cross_entropy(self.model.logits(maps), labels, reduction="none")
            return {"loss_classification": (loss * batch.weight).mean()}
        logits = self.style_head(self.model.vectors(maps)).float()
        if phase == "style":
            return {"loss_style": (F.cross_entropy(logits, labels, reduction="none") * batch.weight).mean()}
        return {"loss_adv_style": self.params.lambda_adv * (uniform_loss(logits) * batch.weight).mean()}
