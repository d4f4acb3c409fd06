"""Classification with one object per image: a linear layer on the pooled last stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dg_project.backbones import Backbone
from dg_project.config import ClassificationParams
from dg_project.tasks.answers import Answers
from dg_project.tasks.base import AuxHead, Features, Inputs, PooledHead, Prediction, Target, TaskModel, softmax_entropy


class Classifier(TaskModel):
    """A backbone with a linear classifier.

    Args:
        backbone: the feature extractor.
        params: size of the input, dropout.
        classes: class names, labels ``1..C`` in targets and predictions.
    """

    def __init__(self, backbone: Backbone, params: ClassificationParams, classes: Sequence[str]) -> None:
        super().__init__(backbone, params, classes)
        self.head = nn.Sequential(nn.Dropout(params.dropout),
                                  nn.Linear(backbone.channels[backbone.last], len(self.classes)))

    def target(self, target: Target, size: tuple[int, int]) -> Target:
        """Return the ``label`` () int64, 0-based, of the one object in the image."""
        return {"label": target["labels"][0] - 1}

    def vectors(self, maps: Features) -> Tensor:
        """Return (N, C): the last stage, mean over its positions."""
        return maps[self.backbone.last].mean((2, 3))

    def logits(self, maps: Features) -> Tensor:
        """Return (N, classes)."""
        return cast(Tensor, self.head(self.vectors(maps)).float())

    def losses(self, maps: Features, inputs: Inputs, weight: Tensor) -> dict[str, Tensor]:
        """Return ``loss_classification``: the mean weighted cross-entropy."""
        loss = F.cross_entropy(self.logits(maps), true_labels(inputs), reduction="none")
        return {"loss_classification": (loss * weight).mean()}

    def answers(self, maps: Features, inputs: Inputs, places: Any = None) -> Answers:
        """Return the logits of every image."""
        logits = self.logits(maps)
        return Answers(logits, torch.arange(len(logits), device=logits.device))

    def decode(self, maps: Features, inputs: Inputs) -> list[Prediction]:
        """Return ``probabilities`` (classes,) of every image."""
        return [{"probabilities": row} for row in self.logits(maps).softmax(1)]

    def pseudo_targets(self, maps: Features, inputs: Inputs, sure: float, unsure: float) -> tuple[list[Target], Tensor]:
        """Return the most likely class; the weight is its probability if at least ``sure``, else 0."""
        confidence, label = self.logits(maps).softmax(1).max(1)
        return [{"labels": one[None] + 1} for one in label], confidence * (confidence >= sure)

    def aux_head(self, channels: int) -> AuxHead:
        """Build a linear classifier on a pooled stage."""
        return ClassHead(channels, len(self.classes))


def true_labels(inputs: Inputs) -> Tensor:
    """Return the labels (N,) int64, 0-based."""
    assert inputs.targets is not None
    return torch.stack([target["label"] for target in inputs.targets])


class ClassHead(PooledHead):
    """A linear classifier on the globally pooled map."""

    def entropy(self, logits: Tensor) -> Tensor:
        """Return the mean entropy of the softmax, divided by log n_classes."""
        return softmax_entropy(logits)

    def loss(self, logits: Tensor, inputs: Inputs) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(logits, true_labels(inputs))
