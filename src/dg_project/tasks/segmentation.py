"""Semantic segmentation: DeepLabV3+ (torchvision's pyramid pooling) on any backbone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.ops import Conv2dNormActivation

from dg_project.backbones import Backbone
from dg_project.config import SegmentationParams
from dg_project.core.errors import ParameterError, nearest
from dg_project.data.masks import IGNORE, check_train_ids
from dg_project.ops.modes import evaluating
from dg_project.tasks.answers import Answers
from dg_project.tasks.base import AuxHead, Features, Inputs, Prediction, Target, TaskModel, softmax_entropy

_GROUPS = 8


class Segmenter(TaskModel):
    """DeepLabV3+: atrous pyramid pooling on the last stage, refined by earlier stages.

    Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018; as in
    Panoptic-DeepLab (CVPR 2020) the decoder can use several stages, one after the other.

    Args:
        backbone: the feature extractor.
        params: sizes of the network.
        classes: names of the train ids 0, 1, ...

    Raises:
        ParameterError: the backbone lacks a stage.
    """

    parts: ClassVar[tuple[str, ...]] = ("mask",)

    def __init__(self, backbone: Backbone, params: SegmentationParams, classes: Sequence[str]) -> None:
        super().__init__(backbone, params, classes)
        self.low_stages = [f"stage{n}" for n in sorted(params.low_stages, reverse=True)]
        for stage in self.low_stages:
            if stage not in backbone.channels:
                raise ParameterError(f"segmentation.low_stages: the backbone has no '{stage}'."
                                     f"{nearest(stage, backbone.channels)}")
        channels = params.channels
        self.pyramid = _with_group_norm(ASPP(backbone.channels[backbone.last], params.dilations, channels))
        self.pyramid.project[-1] = nn.Dropout(params.dropout)
        self.reduce = nn.ModuleDict({stage: _convolution(backbone.channels[stage], channels // 2, 1)
                                     for stage in self.low_stages})
        self.decode_stage = nn.ModuleDict({stage: _convolution(channels + channels // 2, channels, 3)
                                           for stage in self.low_stages})
        self.classifier = nn.Conv2d(channels, len(self.classes), 1)

    def target(self, target: Target, size: tuple[int, int]) -> Target:
        """Return the ``mask`` (H, W) int64 of train ids in the network's input."""
        mask = target["mask"]
        check_train_ids(mask, len(self.classes), str(target.get("image_id", "")))
        if tuple(mask.shape) != self.image_size:
            mask = F.interpolate(mask[None, None].float(), self.image_size, mode="nearest-exact")[0, 0]
        return {"mask": mask.long()}

    def decoded(self, maps: Features) -> Tensor:
        """Return the decoder's features (N, channels, h, w) at the stride of its finest stage."""
        decoded: Tensor = self.pyramid(maps[self.backbone.last])
        for stage in self.low_stages:
            detail = self.reduce[stage](maps[stage])
            larger = F.interpolate(decoded, detail.shape[-2:], mode="bilinear")
            decoded = self.decode_stage[stage](torch.cat([larger, detail], 1))
        return decoded

    def logits(self, maps: Features) -> Tensor:
        """Return (N, classes, h, w) at the stride of the decoder's finest stage."""
        return cast(Tensor, self.classifier(self.decoded(maps)).float())

    def pixel_logits(self, images: Tensor) -> Tensor:
        """Return (N, classes, H, W) of prepared images (N, 3, H, W), in the input size."""
        maps = self.neck(self.features(images))
        return F.interpolate(self.logits(maps), self.image_size, mode="bilinear")

    @torch.no_grad()
    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N, classes, h, w) and ``decoded`` features of prepared images, in evaluation mode."""
        with evaluating(self):
            decoded = self.decoded(self.neck(self.features(images)))
            return self.classifier(decoded).float(), decoded.float()

    def losses(self, maps: Features, inputs: Inputs, weight: Tensor) -> dict[str, Tensor]:
        """Return ``loss_segmentation``: pixel cross-entropy, mean over an image's labelled pixels, then over images."""
        logits = F.interpolate(self.logits(maps), self.image_size, mode="bilinear")
        return {"loss_segmentation": (pixel_loss(logits, input_masks(inputs)) * weight).mean()}

    def answers(self, maps: Features, inputs: Inputs, places: Any = None) -> Answers:
        """Return the logits of every labelled cell of the decoder's grid; ``places`` are their indices."""
        logits = self.logits(maps)
        if places is None:
            masks = F.interpolate(input_masks(inputs)[:, None].float(), logits.shape[-2:], mode="nearest-exact")
            places = (masks.flatten() != IGNORE).nonzero().flatten()
        cells = logits.shape[-2] * logits.shape[-1]
        return Answers(logits.permute(0, 2, 3, 1).flatten(0, 2)[places], places // cells, places)

    def probabilities(self, maps: Features) -> Tensor:
        """Return (N, classes, H, W): softmax over the classes, in the input size."""
        return F.interpolate(self.logits(maps), self.image_size, mode="bilinear").softmax(1)

    def decode(self, maps: Features, inputs: Inputs) -> list[Prediction]:
        """Return the ``mask`` (h, w) uint8 of train ids of every original image."""
        logits = self.logits(maps)
        return [{"mask": F.interpolate(one[None], size, mode="bilinear")[0].argmax(0).to(torch.uint8)}
                for one, size in zip(logits, inputs.sizes, strict=True)]

    def pseudo_targets(self, maps: Features, inputs: Inputs, sure: float, unsure: float) -> tuple[list[Target], Tensor]:
        """Return the most likely class per pixel, 255 below ``unsure``; weights are shares of ``sure`` pixels.

        The masks have the size of the network's input.
        """
        confidence, mask = self.probabilities(maps).max(1)
        mask = mask.masked_fill(confidence < min(sure, unsure), IGNORE).to(torch.uint8)
        return [{"mask": one} for one in mask], (confidence >= sure).float().mean((1, 2))

    def aux_head(self, channels: int) -> AuxHead:
        """Build a head that classifies every position of the stage."""
        return PixelHead(channels, len(self.classes))


def input_masks(inputs: Inputs) -> Tensor:
    """Return the masks (N, H, W) int64 of labelled inputs."""
    assert inputs.targets is not None
    return torch.stack([target["mask"] for target in inputs.targets])


def pixel_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Return (N,) cross-entropies of logits (N, C, H, W) with masks (N, H, W), mean over pixels other than 255."""
    # Channels last, as the network computes them, a pixel's logits lie side by side: half the time, and no copy.
    rows = logits.permute(0, 2, 3, 1).flatten(0, 2)
    loss = F.cross_entropy(rows, mask.flatten(), ignore_index=IGNORE, reduction="none").view(len(mask), -1).sum(1)
    return loss / (mask != IGNORE).flatten(1).sum(1).clamp(min=1)


def _convolution(inputs: int, outputs: int, kernel: int) -> Conv2dNormActivation:
    def norm(channels: int) -> nn.Module:
        return nn.GroupNorm(math.gcd(_GROUPS, channels), channels)

    return Conv2dNormActivation(inputs, outputs, kernel, norm_layer=norm)


def _with_group_norm(module: Any) -> Any:
    """Replace batch normalisation, whose statistics are poor for few images and mix domains."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(math.gcd(_GROUPS, child.num_features), child.num_features))
        else:
            _with_group_norm(child)
    return module


class PixelHead(AuxHead):
    """A linear classifier at every position."""

    def __init__(self, channels: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(channels, n_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``(N, C, H, W)`` to logits ``(N, n_classes, H, W)``."""
        return cast(Tensor, self.linear(features).float())

    def entropy(self, logits: Tensor) -> Tensor:
        """Return the mean entropy of the softmax at every position, divided by log n_classes."""
        return softmax_entropy(logits)

    def loss(self, logits: Tensor, inputs: Inputs) -> Tensor:
        """Return the mean cross-entropy with the masks, resized to the stage."""
        mask = input_masks(inputs)[:, None].float()
        small = F.interpolate(mask, logits.shape[-2:], mode="nearest-exact")[:, 0].long()
        return pixel_loss(logits, small).mean()
