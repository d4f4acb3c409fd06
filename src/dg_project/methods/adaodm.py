"""AdaODM (Zhang et al., arXiv 2208.01996): adapt the extractor at test time so that the domains' heads agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from dg_project.config import Params, Task
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.erm import ERM
from dg_project.ops.gradient_reversal import reverse_gradient
from dg_project.tasks.base import Prediction, TaskModel
from dg_project.tasks.classification import Classifier, true_labels

Weights = dict[str, Tensor]


class AdaODMParams(Params):
    """Adversarial weight in training, and steps at test time."""

    lambda_disagree: float = Field(0.1, ge=0, description="weight of the disagreement in training")
    steps: int = Field(1, ge=0, description="gradient steps at test time; 0 predicts with the trained extractor")
    lr: float = Field(1e-3, gt=0, description="learning rate at test time")
    online: bool = Field(False, description="keep the extractor adapted to earlier images; if not, each image starts "
                                            "from the trained one")


def disagreement(logits: Tensor) -> Tensor:
    """Return ``mean_{i<j} ½ ‖softmax z_i - softmax z_j‖₁`` of each row, (N,) in 0..1 (ours).

    Args:
        logits: z (D, N, C) of D heads.
    """
    probabilities = logits.softmax(2)
    first, second = torch.triu_indices(len(logits), len(logits), 1)
    return (probabilities[first] - probabilities[second]).abs().sum(2).mean(0) / 2


class DomainHeads(nn.Module):
    """One linear classifier per domain.

    Args:
        channels: length of a feature vector.
        n_classes: C.
        n_domains: D.
        dropout: dropout probability; all heads share one mask.
    """

    def __init__(self, channels: int, n_classes: int, n_domains: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleList(nn.Linear(channels, n_classes) for _ in range(n_domains))

    def each(self, vectors: Tensor) -> Tensor:
        """Map features (N, channels) to the logits (D, N, C) of every head."""
        seen = self.dropout(vectors)
        return torch.stack([head(seen).float() for head in self.heads])

    def forward(self, vectors: Tensor) -> Tensor:
        """Map features (N, channels) to the log of the heads' mean probability, (N, C)."""
        return self.each(vectors).softmax(2).mean(0).log()


class AdaODM(ERM):
    """``L = CE(h_d(F x), y) + λ D``: the extractor F minimises D, the heads h maximise it; at test F minimises D.

    Without ``online`` a prediction depends only on its image. With it, the images of one call adapt the extractor
    together and the next call continues from there: predictions depend on the order and grouping of the images, until
    ``restore``. The stored weights never change.
    """

    name: ClassVar[str] = "adaodm"
    needs: ClassVar[Needs] = Needs(other_batches=("mixed",), several_domains=True)
    Params: ClassVar[type[Params]] = AdaODMParams
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    params: AdaODMParams
    model: Classifier

    def __init__(self, model: TaskModel, params: AdaODMParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        if params.steps and not self._trained():
            raise ParameterError(f"{self.name} adapts the backbone at test time, but all of it is frozen: lower "
                                 f"backbone.frozen_stages, or set {self.name}.steps to 0")
        dropout = self.model.head[0]
        assert isinstance(dropout, nn.Dropout)
        self.model.add_module("head", DomainHeads(model.backbone.channels[model.backbone.last], len(model.classes),
                                                  len(domains), dropout.p))
        self._moved: Weights | None = None
        self.register_load_state_dict_post_hook(_restore)

    @property
    def heads(self) -> DomainHeads:
        """The classifiers, in the order of the domains."""
        heads = self.model.get_submodule("head")
        assert isinstance(heads, DomainHeads)
        return heads

    def begin_step(self) -> None:
        """Undo the adaptation of a validation."""
        self.restore()

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the loss of each row's own head, and the adversarial disagreement."""
        inputs = self.model.prepare(batch.images, batch.targets)
        vectors = self.model.vectors(self.model.neck(self.model.features(inputs.images)))
        own = self.heads.each(vectors)[batch.domain_id, torch.arange(len(batch), device=vectors.device)]
        entropy = F.cross_entropy(own, true_labels(inputs), reduction="none")
        # The loss is -D: the heads learn to disagree, the extractor behind the reversal learns to make them agree.
        apart = disagreement(self.heads.each(reverse_gradient(vectors, 1)))
        return {"loss_classification": (entropy * batch.weight).mean(),
                "loss_adv_disagreement": -self.params.lambda_disagree * (apart * batch.weight).mean(),
                "log_disagreement": apart.detach().mean()}

    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predict images (3, h, w) in [0, 1] of any size, each with an extractor adapted to it."""
        if not self.params.steps:
            return super().predict(images)
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(False), torch.enable_grad():
                prepared = self.model.prepare([image.clone() for image in images]).images
                groups = [prepared] if self.params.online else prepared.split(1)
                return [{"probabilities": row} for group in groups for row in self._adapted(group)]
        finally:
            self.model.train(training)

    def restore(self) -> None:
        """Start the next prediction from the trained extractor."""
        self._moved = None

    def _adapted(self, images: Tensor) -> Tensor:
        """Adapt the extractor to prepared images (N, 3, H, W), and return their probabilities (N, C)."""
        weights = self._move(self._moved or self._trained(), images)
        self._moved = weights if self.params.online else None
        with torch.no_grad():
            return self.heads(self._vectors(weights, images)).softmax(1)

    def _move(self, weights: Weights, images: Tensor) -> Weights:
        """Return the weights after ``θ <- θ - lr ∂ mean D / ∂θ``, ``steps`` times."""
        for _ in range(self.params.steps):
            leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
            loss = disagreement(self.heads.each(self._vectors(leaves, images))).mean()
            slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            weights = {name: leaf.detach() if slope is None else leaf.detach() - self.params.lr * slope
                       for (name, leaf), slope in zip(leaves.items(), slopes, strict=True)}
        return weights

    def _trained(self) -> Weights:
        return {name: weight for name, weight in self.model.backbone.named_parameters() if weight.requires_grad}

    def _vectors(self, weights: Weights, images: Tensor) -> Tensor:
        return self.model.vectors(self.model.neck(functional_call(self.model.backbone, weights, (images,))))


def _restore(method: AdaODM, _: object) -> None:
    method.restore()
