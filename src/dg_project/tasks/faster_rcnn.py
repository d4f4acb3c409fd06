"""Faster R-CNN's two heads from torchvision, with per-image loss weights and ignored boxes.

Unlike in torchvision, an anchor or proposal on an *ignored* box is neither object nor background, and the loss of every
sample is multiplied by the weight of its image. With unit weights and without ignored boxes the losses equal
torchvision's.

A difficult box outlines one object of a known class, so its IoU decides what lies on it, as for every object. A box of
an ignored class may hold several objects, and a part of it may look like a known class, so there the covered share of
the anchor or proposal decides: the rule of COCO for crowds, which the scores also follow (``evaluation/matching.py``).
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import box_area, box_iou

from dg_project.config import DetectionParams
from dg_project.tasks.answers import Answers
from dg_project.tasks.roi_pooling import RoIPooling

Targets = list[dict[str, Tensor]]
ASPECT_RATIOS = (0.5, 1.0, 2.0)
IGNORE = -1


def build_rpn(params: DetectionParams) -> WeightedRPN:
    """Build the region proposal network: one anchor size per pyramid level, three aspect ratios."""
    sizes = tuple((size,) for size in params.anchor_sizes)
    anchors = Anchors(sizes, (ASPECT_RATIOS,) * len(sizes))
    return WeightedRPN(
        anchors, RPNHead(params.fpn_channels, len(ASPECT_RATIOS)), fg_iou_thresh=0.7, bg_iou_thresh=0.3,
        batch_size_per_image=params.anchors_per_image, positive_fraction=0.5,
        pre_nms_top_n={"training": 2 * params.proposals_train, "testing": 2 * params.proposals_test},
        post_nms_top_n={"training": params.proposals_train, "testing": params.proposals_test}, nms_thresh=0.7)


def build_box_heads(params: DetectionParams, levels: list[str], n_classes: int) -> WeightedRoIHeads:
    """Build RoI pooling and the box head for ``n_classes`` and background."""
    pool = RoIPooling(levels, output_size=params.roi_size, sampling_ratio=params.roi_samples,
                      canonical_scale=params.roi_scale, canonical_level=4)
    head = TwoMLPHead(params.fpn_channels * params.roi_size**2, params.box_head_features)
    predictor = FastRCNNPredictor(params.box_head_features, n_classes + 1)
    return WeightedRoIHeads(
        pool, head, predictor, fg_iou_thresh=0.5, bg_iou_thresh=0.5, batch_size_per_image=params.rois_per_image,
        positive_fraction=0.25, bbox_reg_weights=None, score_thresh=params.score_threshold, nms_thresh=0.5,
        detections_per_img=100)


def weighted_mean(loss: Tensor, weight: Tensor, count: int) -> Tensor:
    """Return ``sum(weight * loss) / count`` for losses (n, ...) and weights (n,); 0 for no samples.

    The divisor is the number of samples, not the sum of weights, so an image of weight 0.5 counts half.
    """
    return (loss.flatten(1).sum(1) if loss.ndim > 1 else loss).mul(weight).sum() / max(count, 1)


def on_ignored(boxes: Tensor, target: dict[str, Tensor], threshold: float) -> Tensor:
    """Return a mask (n,) of the boxes (n, 4) that overlap an ignored box of the target by at least ``threshold``.

    The overlap is the IoU with a difficult box, and the share of the own area that a ``region`` covers.
    """
    ignored, region = target["ignored"], target["region"]
    if not len(ignored):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    overlap = box_iou(ignored, boxes)
    overlap[region] = covered(boxes, ignored[region])
    return overlap.amax(0) >= threshold


def covered(boxes: Tensor, by: Tensor) -> Tensor:
    """Return the share (m, n) of the area of each box (n, 4) that each box of ``by`` (m, 4) covers."""
    sides = torch.minimum(by[:, None, 2:], boxes[:, 2:]) - torch.maximum(by[:, None, :2], boxes[:, :2])
    area = box_area(boxes)
    return sides.clamp(min=0).prod(2) / area.clamp(min=torch.finfo(area.dtype).tiny)


def stride(side: int, cells: int) -> float:
    """Return the pixels per cell of a map: a power of two if that gives ``cells`` (rounded up), else the quotient."""
    power = 2.0 ** round(math.log2(side / cells))
    return power if math.ceil(side / power) == cells else side / cells


class Anchors(AnchorGenerator):
    """torchvision's anchors with exact strides and in float32.

    torchvision divides image size by map size without remainder, which is wrong unless the image is padded to a
    multiple of the stride, and uses the dtype of the maps: bfloat16 has no number between 1024 and 1032.
    """

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors (n, 4) of every image, finest map first."""
        height, width = image_list.tensors.shape[-2:]
        grids = [list(features.shape[-2:]) for features in feature_maps]
        device = feature_maps[0].device
        strides = [[torch.tensor(stride(side, cells), device=device)
                    for side, cells in zip((height, width), grid, strict=True)] for grid in grids]
        self.set_cell_anchors(torch.float32, device)
        return [torch.cat(self.grid_anchors(grids, strides))] * len(image_list.image_sizes)


class WeightedRPN(RegionProposalNetwork):
    """Region proposal network whose losses are weighted per image.

    Targets have ``boxes`` and ``labels`` of the objects, and the boxes ``ignored`` (m, 4) with ``region`` (m,).
    """

    def forward(self, images: ImageList, features: dict[str, Tensor], targets: Targets | None = None,
                weight: Tensor | None = None) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the proposals (n, 4) of every image, and with targets the losses, weighted by ``weight`` (N,)."""
        maps = list(features.values())
        objectness, deltas = self.head(maps)
        anchors = self.anchor_generator(images, maps)
        per_level = [level[0].numel() for level in objectness]
        # Boxes and losses are computed in float32, for any dtype of the convolutions.
        objectness, deltas = (value.float() for value in concat_box_prediction_layers(objectness, deltas))
        with torch.no_grad():
            decoded = self.box_coder.decode(deltas, anchors).view(len(anchors), -1, 4)
            proposals, _ = self.filter_proposals(decoded, objectness, images.image_sizes, per_level)
        if targets is None or weight is None:
            return proposals, {}
        return proposals, self._losses(objectness.flatten(), deltas, anchors, targets, weight)

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: Targets) -> tuple[list[Tensor], list[Tensor]]:
        """Return labels (1 object, 0 background, -1 ignored) and matched boxes of every image's anchors."""
        labels, matched = super().assign_targets_to_anchors(anchors, targets)
        threshold = self.proposal_matcher.low_threshold
        for label, boxes, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & on_ignored(boxes, target, threshold)] = IGNORE
        return labels, matched

    def _losses(self, objectness: Tensor, deltas: Tensor, anchors: list[Tensor], targets: Targets,
                weight: Tensor) -> dict[str, Tensor]:
        labels, matched = self.assign_targets_to_anchors(anchors, targets)
        wanted = torch.cat(self.box_coder.encode(matched, anchors))
        positive, negative = (torch.where(torch.cat(part))[0] for part in self.fg_bg_sampler(labels))
        sampled = torch.cat([positive, negative])
        of_anchor = weight.repeat_interleave(len(anchors[0]))
        score = F.binary_cross_entropy_with_logits(objectness[sampled], torch.cat(labels)[sampled], reduction="none")
        shift = F.smooth_l1_loss(deltas[positive], wanted[positive], beta=1 / 9, reduction="none")
        return {"loss_objectness": weighted_mean(score, of_anchor[sampled], len(sampled)),
                "loss_rpn_box": weighted_mean(shift, of_anchor[positive], len(sampled))}


class Sampled(NamedTuple):
    """Proposals sampled for the losses, one entry per image.

    Attributes:
        proposals: (n, 4) boxes.
        labels: (n,) labels of the matched objects; 0 is background.
        matches: (n,) indices of the matched objects in the image.
        wanted: (n, 4) regression targets.
    """

    proposals: list[Tensor]
    labels: list[Tensor]
    matches: list[Tensor]
    wanted: list[Tensor]


class WeightedRoIHeads(RoIHeads):
    """Box head whose losses are weighted per image. Targets are as in ``WeightedRPN``."""

    def vectors(self, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        """Return the box head's features (sum of boxes, D) of the boxes of every image."""
        return cast(Tensor, self.box_head(self.box_roi_pool(features, boxes, sizes)))

    def _predict(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 logits (n, 1 + C) and deltas (n, 4 * (1 + C))."""
        logits, deltas = self.box_predictor(vectors)
        return logits.float(), deltas.float()

    def losses(self, features: dict[str, Tensor], sampled: Sampled, sizes: list[tuple[int, int]],
               weight: Tensor) -> dict[str, Tensor]:
        """Return the classification and box losses of sampled proposals, weighted by ``weight`` (N,)."""
        logits, deltas = self._predict(self.vectors(features, sampled.proposals, sizes))
        of_roi = torch.cat([w.expand(len(boxes)) for w, boxes in zip(weight, sampled.proposals, strict=True)])
        label = torch.cat(sampled.labels)
        positive = torch.where(label > 0)[0]
        per_class = deltas.view(len(label), -1, 4)[positive, label[positive]]
        shift = F.smooth_l1_loss(per_class, torch.cat(sampled.wanted)[positive], beta=1 / 9, reduction="none")
        score = F.cross_entropy(logits, label, reduction="none")
        return {"loss_class": weighted_mean(score, of_roi, len(label)),
                "loss_box": weighted_mean(shift, of_roi[positive], len(label))}

    def answers(self, features: dict[str, Tensor], sampled: Sampled, sizes: list[tuple[int, int]]) -> Answers:
        """Return the class logits of the sampled proposals, and the deltas of the object's class for those on one."""
        logits, deltas = self._predict(self.vectors(features, sampled.proposals, sizes))
        counts = torch.tensor([len(boxes) for boxes in sampled.proposals], device=logits.device)
        image = torch.arange(len(counts), device=logits.device).repeat_interleave(counts)
        label = torch.cat(sampled.labels)
        positive = torch.where(label > 0)[0]
        of_class = deltas.view(len(label), -1, 4)[positive, label[positive]]
        return Answers(logits, image, sampled, of_class, object_image=image[positive])

    def detect(self, features: dict[str, Tensor], proposals: list[Tensor],
               sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """Return boxes, labels and scores of every image, in the coordinates of the network's input."""
        logits, deltas = self._predict(self.vectors(features, proposals, sizes))
        found = self.postprocess_detections(logits, deltas, proposals, sizes)
        return [dict(zip(("boxes", "scores", "labels"), parts, strict=True)) for parts in zip(*found, strict=True)]

    @torch.no_grad()
    def sample(self, proposals: list[Tensor], targets: Targets) -> Sampled:
        """Sample proposals for the losses, at most a quarter of them on objects."""
        boxes = [target["boxes"] for target in targets]
        proposals = self.add_gt_proposals(proposals, boxes)
        matches, labels = self.assign_targets_to_proposals(proposals, boxes, [target["labels"] for target in targets])
        for label, where, target in zip(labels, proposals, targets, strict=True):
            label[(label == 0) & on_ignored(where, target, self.proposal_matcher.low_threshold)] = IGNORE
        chosen = self.subsample(labels)
        proposals, labels, matches = ([values[index] for values, index in zip(part, chosen, strict=True)]
                                      for part in (proposals, labels, matches))
        # An image without boxes has only background samples, matched to this placeholder.
        known = [box if len(box) else box.new_zeros(1, 4) for box in boxes]
        matched = [box[match] for box, match in zip(known, matches, strict=True)]
        return Sampled(proposals, labels, matches, list(self.box_coder.encode(matched, proposals)))
