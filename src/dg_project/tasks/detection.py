"""Object detection: Faster R-CNN (from torchvision's parts) with a feature pyramid on any backbone."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from dg_project.backbones import Backbone
from dg_project.config import DetectionParams
from dg_project.core.errors import ParameterError
from dg_project.tasks.answers import Answers
from dg_project.tasks.base import AuxHead, Features, Inputs, Instances, PooledHead, Prediction, Target, TaskModel
from dg_project.tasks.faster_rcnn import Sampled, Targets, build_box_heads, build_rpn


class Detector(TaskModel):
    """Faster R-CNN on the stages of a backbone.

    Args:
        backbone: the feature extractor.
        params: sizes of the network.
        classes: class names, labels ``1..C``; 0 is background.

    Raises:
        ParameterError: the pyramid stages and the anchor sizes do not fit the backbone or each other.
    """

    def __init__(self, backbone: Backbone, params: DetectionParams, classes: Sequence[str]) -> None:
        super().__init__(backbone, params, classes)
        self.params = params
        self.levels = [f"stage{n}" for n in params.fpn_stages]
        if missing := set(self.levels) - set(backbone.channels):
            raise ParameterError(f"detection.fpn_stages: the backbone has no {sorted(missing)}, only "
                                 f"{list(backbone.channels)}")
        extra = len(params.anchor_sizes) - len(self.levels)
        if extra not in (0, 1):
            raise ParameterError(f"detection.anchor_sizes: {len(params.anchor_sizes)} sizes for {len(self.levels)} "
                                 "pyramid stages; give one per stage, and at most one more for a pooled level")
        self.fpn = FeaturePyramidNetwork([backbone.channels[level] for level in self.levels], params.fpn_channels,
                                         LastLevelMaxPool() if extra else None)
        self.rpn = build_rpn(params)
        self.box_heads = build_box_heads(params, self.levels, len(self.classes))
        self.instance_channels = params.box_head_features

    def _scale(self, size: tuple[int, int], like: Tensor) -> Tensor:
        """Return the factors (4,) that scale boxes of an image of this size to the network's input."""
        vertical, horizontal = (new / old for new, old in zip(self.image_size, size, strict=True))
        return like.new_tensor([horizontal, vertical, horizontal, vertical])

    def target(self, target: Target, size: tuple[int, int]) -> Target:
        """Return ``boxes`` and ``labels`` of the objects, ``ignored``, the other boxes, and ``region``.

        Losses treat ignored boxes as neither object nor background. ``region`` (m,) bool says which of them have an
        ignored class; the others are difficult objects.
        """
        boxes = target["boxes"] * self._scale(size, target["boxes"])
        easy = ~target["difficult"]
        return {"boxes": boxes[easy], "labels": target["labels"][easy], "ignored": boxes[~easy],
                "region": target["labels"][~easy] < 0}

    def neck(self, features: Features) -> Features:
        """Return the feature pyramid, one map ``(N, fpn_channels, H, W)`` per anchor size, finest first."""
        return cast(Features, self.fpn(OrderedDict((level, features[level]) for level in self.levels)))

    def _image_list(self, inputs: Inputs) -> ImageList:
        return ImageList(inputs.images, [self.image_size] * len(inputs))

    def losses(self, maps: Features, inputs: Inputs, weight: Tensor) -> dict[str, Tensor]:
        """Return the four losses of Faster R-CNN, each sample weighted by its image's ``weight`` (N,)."""
        images = self._image_list(inputs)
        targets = cast(Targets, inputs.targets)
        proposals, losses = self.rpn(images, maps, targets, weight)
        sampled = self.box_heads.sample(proposals, targets)
        losses |= self.box_heads.losses(maps, sampled, images.image_sizes, weight)
        return losses | self.more_losses(maps, sampled, targets, weight)

    def more_losses(self, maps: Features, sampled: Sampled, targets: Targets, weight: Tensor) -> dict[str, Tensor]:
        """Return additional losses of a subclass on the sampled proposals."""
        return {}

    def answers(self, maps: Features, inputs: Inputs, places: Any = None) -> Answers:
        """Return class logits and box deltas at proposals: as many as are sampled for the losses, labels included."""
        if places is None:
            images = self._image_list(inputs)
            proposals, _ = self.rpn(images, {name: value.detach() for name, value in maps.items()})
            places = self.box_heads.sample(proposals, cast(Targets, inputs.targets))
        return self.box_heads.answers(maps, places, [self.image_size] * len(inputs))

    def objectness(self, maps: Features) -> Tensor:
        """Return the RPN's scores of all anchors as logits (N, anchors)."""
        scores, _ = self.rpn.head(list(maps.values()))
        return torch.cat([level.permute(0, 2, 3, 1).flatten(1) for level in scores], 1).float()

    def box_vectors(self, maps: Features, boxes: list[Tensor]) -> Tensor:
        """Return the box head's features (sum of boxes, D) of boxes (n, 4) of every image, in input coordinates."""
        return self.box_heads.vectors(maps, boxes, [self.image_size] * len(boxes))

    def decode(self, maps: Features, inputs: Inputs) -> list[Prediction]:
        """Return ``boxes`` (n, 4) in the original image, ``labels`` (n,) and ``scores`` (n,) of every image."""
        images = self._image_list(inputs)
        proposals, _ = self.rpn(images, maps)
        found = self.box_heads.detect(maps, proposals, images.image_sizes)
        self.add_to(found, maps)
        for prediction, size in zip(found, inputs.sizes, strict=True):
            self.rescale(prediction, size)
        return found

    def pseudo_targets(self, maps: Features, inputs: Inputs, sure: float, unsure: float) -> tuple[list[Target], Tensor]:
        """Return detections with a score of at least ``sure``, and ``difficult`` ones of at least ``unsure``.

        The weight of an image is the mean score of its sure detections; images without one are not used, not even as
        background.
        """
        found = self.decode(maps, inputs)
        targets = [self.pseudo_target(prediction, prediction["scores"] >= min(sure, unsure), sure)
                   for prediction in found]
        scores = [prediction["scores"][prediction["scores"] >= sure] for prediction in found]
        return targets, torch.stack([score.sum() / max(len(score), 1) for score in scores])

    def pseudo_target(self, prediction: Prediction, seen: Tensor, sure: float) -> Target:
        """Return the target of one image from the detections selected by ``seen`` (n,) bool."""
        return {"boxes": prediction["boxes"][seen], "labels": prediction["labels"][seen],
                "difficult": prediction["scores"][seen] < sure}

    def add_to(self, found: list[Prediction], maps: Features) -> None:
        """Add further predictions of a subclass for the detected boxes, in input coordinates."""

    def rescale(self, prediction: Prediction, size: tuple[int, int]) -> None:
        """Convert a prediction from input coordinates to an original image of ``size``."""
        prediction["boxes"] = prediction["boxes"] / self._scale(size, prediction["boxes"])

    def instance_features(self, maps: Features, inputs: Inputs) -> Instances:
        """Return the box head's features of the labelled boxes.

        Labels are used instead of proposals because images of one pair share their boxes, so that the features of an
        object can be compared across domains.
        """
        boxes = [target["boxes"] for target in cast(Targets, inputs.targets)]
        counts = torch.tensor([len(box) for box in boxes], device=inputs.images.device)
        row = torch.arange(len(boxes), device=counts.device).repeat_interleave(counts)
        slot = torch.cat([torch.arange(len(box), device=counts.device) for box in boxes])
        if not len(row):
            return Instances(inputs.images.new_zeros(0, self.params.box_head_features), row, slot)
        return Instances(self.box_vectors(maps, boxes), row, slot)

    def aux_head(self, channels: int) -> AuxHead:
        """Build a multi-label head that predicts which classes an image shows."""
        return PresenceHead(channels, len(self.classes))


def image_labels(targets: Sequence[Target], n_classes: int) -> Tensor:
    """Return ``(N, n_classes)`` float32 with 1 if an image shows an object of the class (labels are 1-based)."""
    labels = torch.zeros(len(targets), n_classes, device=targets[0]["labels"].device)
    for row, target in zip(labels, targets, strict=True):
        row[target["labels"] - 1] = 1
    return labels


class PresenceHead(PooledHead):
    """Multi-label classifier on the globally pooled map."""

    def entropy(self, logits: Tensor) -> Tensor:
        """Return the mean binary entropy of ``sigmoid(logits)``, divided by log 2."""
        certain = F.logsigmoid(logits) * logits.sigmoid() + F.logsigmoid(-logits) * (-logits).sigmoid()
        return -certain.mean() / math.log(2)

    def loss(self, logits: Tensor, inputs: Inputs) -> Tensor:
        """Return the mean binary cross-entropy with the classes of the labelled boxes."""
        return F.binary_cross_entropy_with_logits(logits, image_labels(cast(Targets, inputs.targets), logits.shape[1]))
