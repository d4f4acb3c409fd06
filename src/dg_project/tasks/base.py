"""The interface between methods and tasks.

A method turns images into ``Inputs``, these into ``Features``, and features into losses::

    inputs = model.prepare(batch.images, batch.targets)
    features = model.features(inputs.images)
    losses = model.losses(model.neck(features), inputs, batch.weight)

Rows are images: ``take`` and ``Inputs.rows`` select the same rows of features and inputs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dg_project.backbones import Backbone
from dg_project.config import TaskParams
from dg_project.ops.modes import evaluating
from dg_project.tasks.answers import Answers

Features = dict[str, Tensor]
"""Named maps ``(N, C, H, W)``, finest first."""

Target = dict[str, Any]
Prediction = dict[str, Tensor]


def take(features: Features, rows: Tensor) -> Features:
    """Return the given rows (int64 indices or bool mask) of every map."""
    return {name: value[rows] for name, value in features.items()}


@dataclass
class Inputs:
    """A batch prepared for the network.

    Attributes:
        images: ``(N, 3, H, W)`` float32, normalised.
        sizes: (height, width) of each image before resizing.
        targets: one dict per image, in the coordinates of ``images``; None at inference.
    """

    images: Tensor
    sizes: list[tuple[int, int]]
    targets: list[Target] | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, rows: Tensor) -> Self:
        """Return the given rows (int64 indices or bool mask)."""
        index = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        chosen = index.tolist()
        targets = None if self.targets is None else [self.targets[i] for i in chosen]
        return type(self)(self.images[index], [self.sizes[i] for i in chosen], targets)


class Instances(NamedTuple):
    """Feature vectors of the labelled objects of a batch.

    Attributes:
        vectors: ``(R, D)``.
        row: ``(R,)`` image of each object.
        slot: ``(R,)`` index among the boxes of that image; images of one pair share boxes and therefore slots.
    """

    vectors: Tensor
    row: Tensor
    slot: Tensor


class AuxHead(nn.Module, ABC):
    """A small classifier on one stage, for losses that measure how discriminative features are."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Map features ``(N, C, H, W)`` to logits."""

    @abstractmethod
    def entropy(self, logits: Tensor) -> Tensor:
        """Return the mean prediction entropy as a scalar in [0, 1]."""

    @abstractmethod
    def loss(self, logits: Tensor, inputs: Inputs) -> Tensor:
        """Return the mean cross-entropy of the logits with the labels of ``inputs`` as a scalar."""


class PooledHead(AuxHead):
    """Base of auxiliary heads that are a linear layer on the globally pooled map."""

    def __init__(self, channels: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, n_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``(N, C, H, W)`` to logits ``(N, n_classes)``."""
        return cast(Tensor, self.linear(features.mean((2, 3))).float())


def softmax_entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the softmax over dimension 1, divided by log n_classes: a scalar in [0, 1]."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean() / math.log(logits.shape[1])


class TaskModel(nn.Module, ABC):
    """Backbone and head of one task.

    Args:
        backbone: the feature extractor.
        params: sizes of the head; ``image_size`` is the network's input size.
        classes: class names; label 0 is background if the task has one.

    Attributes:
        parts: label images that the targets must contain: ``mask``, ``instances``.
    """

    parts: ClassVar[tuple[str, ...]] = ()
    instance_channels: int | None = None
    """Length of the vectors of ``instance_features``; None if the task has no instances."""

    def __init__(self, backbone: Backbone, params: TaskParams, classes: Sequence[str]) -> None:
        super().__init__()
        self.backbone = backbone
        self.image_size = params.image_size
        self.classes = list(classes)

    def prepare(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Inputs:
        """Resize and normalise images (3, h, w) in [0, 1] of any size, and convert the targets."""
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        resized = torch.stack([self._resize(image) for image in images])
        stacked = self.backbone.normalise(resized).contiguous(memory_format=torch.channels_last)
        if targets is None:
            return Inputs(stacked, sizes)
        return Inputs(stacked, sizes, [self.target(*pair) for pair in zip(targets, sizes, strict=True)])

    def _resize(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) == self.image_size:
            return image
        return F.interpolate(image[None], self.image_size, mode="bilinear", antialias=True)[0]

    @abstractmethod
    def target(self, target: Target, size: tuple[int, int]) -> Target:
        """Convert the target of an image of ``size`` to what the losses need, in input coordinates."""

    def features(self, images: Tensor) -> Features:
        """Return the backbone's stages of prepared images, ``stage<n>`` at stride ``2**n``."""
        return self.backbone(images)

    def neck(self, features: Features) -> Features:
        """Return the maps for the head, computed from the backbone's stages."""
        return features

    @abstractmethod
    def losses(self, maps: Features, inputs: Inputs, weight: Tensor) -> dict[str, Tensor]:
        """Return the ``loss_*`` of the rows in ``maps`` (from ``neck``) and ``inputs``, weighted per image (N,)."""

    @abstractmethod
    def answers(self, maps: Features, inputs: Inputs, places: Any = None) -> Answers:
        """Return what the head says at some places of labelled inputs, to compare it between two views.

        Args:
            maps: from ``neck``.
            inputs: labelled inputs.
            places: ``Answers.places`` of another view of the same images; None lets the task choose.
        """

    @abstractmethod
    def decode(self, maps: Features, inputs: Inputs) -> list[Prediction]:
        """Convert the maps of ``neck`` to predictions in the coordinates of the original images."""

    @torch.no_grad()
    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predict images (3, h, w) in [0, 1], always in evaluation mode."""
        with evaluating(self):
            inputs = self.prepare(images)
            return self.decode(self.neck(self.features(inputs.images)), inputs)

    @torch.no_grad()
    def pseudo_label(self, images: Sequence[Tensor], sure: float, unsure: float) -> tuple[list[Target], Tensor]:
        """Predict pseudo labels of images (3, h, w) in [0, 1], always in evaluation mode.

        Args:
            images: unlabelled images.
            sure: minimum confidence of a label.
            unsure: predictions between this confidence and ``sure`` are ignored by losses.

        Returns:
            One target per image, in the format of a data set (``prepare`` converts them to network inputs), and (N,)
            image weights, 0 if no prediction is ``sure``.
        """
        with evaluating(self):
            inputs = self.prepare(images)
            return self.pseudo_targets(self.neck(self.features(inputs.images)), inputs, sure, unsure)

    @abstractmethod
    def pseudo_targets(self, maps: Features, inputs: Inputs, sure: float, unsure: float) -> tuple[list[Target], Tensor]:
        """Convert the maps of ``neck`` to the output of ``pseudo_label``."""

    def instance_features(self, maps: Features, inputs: Inputs) -> Instances | None:
        """Return features of the labelled objects, or None if the task has no instances."""
        return None

    @abstractmethod
    def aux_head(self, channels: int) -> AuxHead:
        """Build an auxiliary head for a stage with this many channels."""
