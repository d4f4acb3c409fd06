"""Instance segmentation: Mask R-CNN, a detector with a mask head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import maskrcnn_inference, paste_masks_in_image, project_masks_on_boxes

from dg_project.backbones import Backbone
from dg_project.config import InstanceSegmentationParams
from dg_project.tasks.answers import Answers
from dg_project.tasks.base import Features, Inputs, Prediction, Target
from dg_project.tasks.detection import Detector
from dg_project.tasks.faster_rcnn import Sampled, Targets, weighted_mean
from dg_project.tasks.roi_pooling import RoIPooling

CERTAIN = 0.5
"""Minimum probability of an object's pixels."""


class InstanceSegmenter(Detector):
    """Mask R-CNN on the stages of a backbone; arguments and errors are those of ``Detector``."""

    parts: ClassVar[tuple[str, ...]] = ("instances",)

    def __init__(self, backbone: Backbone, params: InstanceSegmentationParams, classes: Sequence[str]) -> None:
        super().__init__(backbone, params, classes)
        self.mask_pool = RoIPooling(self.levels, params.mask_roi_size, params.roi_samples,
                                    canonical_scale=params.roi_scale, canonical_level=4)
        self.mask_head = MaskRCNNHeads(params.fpn_channels, (params.mask_channels,) * params.mask_layers, 1)
        self.mask_predictor = MaskRCNNPredictor(params.mask_channels, params.mask_channels, len(self.classes) + 1)

    def target(self, target: Target, size: tuple[int, int]) -> Target:
        """Return ``Detector``'s target with the ``masks`` (n, H, W) bool of its objects."""
        masks = target["instances"][~target["difficult"]]
        if tuple(masks.shape[-2:]) != self.image_size and len(masks):
            masks = F.interpolate(masks[None].float(), self.image_size, mode="nearest-exact")[0] > 0
        return {**super().target(target, size), "masks": masks}

    def _mask_logits(self, maps: Features, boxes: list[Tensor]) -> Tensor:
        """Return (sum of boxes, 1 + C, 2 * mask_roi_size, 2 * mask_roi_size)."""
        pooled = self.mask_pool(maps, boxes, [self.image_size] * len(boxes))
        return cast(Tensor, self.mask_predictor(self.mask_head(pooled)).float())

    def more_losses(self, maps: Features, sampled: Sampled, targets: Targets, weight: Tensor) -> dict[str, Tensor]:
        """Return ``loss_mask``: binary cross-entropy of the true class's mask, mean over positive proposals."""
        positive = [torch.where(labels > 0)[0] for labels in sampled.labels]
        boxes, labels, matches = ([values[index] for values, index in zip(part, positive, strict=True)]
                                  for part in (sampled.proposals, sampled.labels, sampled.matches))
        logits = self._mask_logits(maps, boxes)
        if not len(logits):
            return {"loss_mask": logits.sum()}
        side = logits.shape[-1]
        wanted = torch.cat([project_masks_on_boxes(target["masks"], box, match, side) for target, box, match
                            in zip(targets, boxes, matches, strict=True) if len(box)])
        true_class = logits[torch.arange(len(logits), device=logits.device), torch.cat(labels)]
        loss = F.binary_cross_entropy_with_logits(true_class, wanted, reduction="none").mean((1, 2))
        of_roi = torch.cat([w.expand(len(box)) for w, box in zip(weight, boxes, strict=True)])
        return {"loss_mask": weighted_mean(loss, of_roi, len(loss))}

    def answers(self, maps: Features, inputs: Inputs, places: Any = None) -> Answers:
        """Return ``Detector``'s answers with the mask logits of the object's class for proposals on an object."""
        answers = super().answers(maps, inputs, places)
        positive = [labels > 0 for labels in answers.places.labels]
        boxes, labels = ([values[chosen] for values, chosen in zip(part, positive, strict=True)]
                         for part in (answers.places.proposals, answers.places.labels))
        logits = self._mask_logits(maps, boxes)
        return replace(answers, masks=logits[torch.arange(len(logits), device=logits.device), torch.cat(labels)])

    def add_to(self, found: list[Prediction], maps: Features) -> None:
        """Add ``masks`` (n, 1, side, side): probabilities in each box."""
        logits = self._mask_logits(maps, [prediction["boxes"] for prediction in found])
        masks = maskrcnn_inference(logits, [prediction["labels"] for prediction in found])
        for prediction, mask in zip(found, masks, strict=True):
            prediction["masks"] = mask

    def pseudo_target(self, prediction: Prediction, seen: Tensor, sure: float) -> Target:
        """Return ``Detector``'s target with the ``instances`` (n, h, w) bool."""
        return super().pseudo_target(prediction, seen, sure) | {"instances": prediction["masks"][seen]}

    def rescale(self, prediction: Prediction, size: tuple[int, int]) -> None:
        """Convert the boxes to the original image, and paste ``masks`` (n, h, w) bool into it."""
        super().rescale(prediction, size)
        pasted = paste_masks_in_image(prediction["masks"], prediction["boxes"], size)
        prediction["masks"] = pasted[:, 0] >= CERTAIN
