"""Wrap a trained network as a module with static shapes, for ``torch.export`` and ONNX.

Every graph maps ``images`` (N, 3, H, W) float32 in [0, 1], RGB, at the input size of the network, to one tensor per
output; N is free. :mod:`dg_project.export.decoding` resizes the images and decodes the outputs.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, nms, roi_align
from torchvision.ops.poolers import _setup_scales

from dg_project.core.errors import ParameterError
from dg_project.methods.base import Method
from dg_project.tasks import TaskModel
from dg_project.tasks.classification import Classifier
from dg_project.tasks.detection import Detector
from dg_project.tasks.instance_segmentation import InstanceSegmenter
from dg_project.tasks.segmentation import Segmenter

_SMALLEST_PROPOSAL, _SMALLEST_DETECTION = 1e-3, 1e-2
"""Smallest box sides in pixels of torchvision's ``RegionProposalNetwork`` and ``RoIHeads``."""


class Graph(nn.Module):
    """Base of the exported modules.

    Attributes:
        outputs: output name -> description.
    """

    outputs: ClassVar[dict[str, str]]

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of the neck, by level."""
        return self.model.neck(self.model.features(self.model.backbone.normalise(images)))


class LogitsGraph(Graph):
    """Classification (N, classes) or semantic segmentation (N, classes, h, w)."""

    outputs: ClassVar[dict[str, str]] = {"logits": "before the softmax; of masks at the stride of the decoder"}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits."""
        return (cast(Classifier | Segmenter, self.model).logits(self.maps(images)),)


class DetectionGraph(Graph):
    """Faster R-CNN with box decoding and both non-maximum suppressions.

    torchvision's decoding loops over images and branches on the number of boxes, so it cannot be exported. This one
    computes the same with static shapes: dropped boxes get the score -1 and are sorted to the end. Rows after the last
    detection have the score 0.
    """

    outputs: ClassVar[dict[str, str]] = {
        "boxes": "(N, D, 4) x0, y0, x1, y1 in pixels of the input",
        "scores": "(N, D) best first; 0 after the last detection",
        "labels": "(N, D) int64, 1-based index into the classes",
    }

    def __init__(self, model: Detector) -> None:
        super().__init__(model)
        self.detector = model
        probe = torch.zeros(1, 3, *model.image_size)
        with torch.no_grad():
            maps = self.maps(probe)
            anchors = model.rpn.anchor_generator(ImageList(probe, [model.image_size]), list(maps.values()))[0]
        self.register_buffer("anchors", anchors, persistent=False)
        for pooler in model.modules():
            if isinstance(pooler, MultiScaleRoIAlign):
                pooler.scales, pooler.map_levels = _setup_scales(
                    [maps[name] for name in pooler.featmap_names], [model.image_size], pooler.canonical_scale,
                    pooler.canonical_level)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return ``boxes``, ``scores`` and ``labels``."""
        maps = self.maps(images)
        return self.detect(maps, *self.propose(maps))

    def propose(self, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return proposals (N, P, 4) and whether each is valid (N, P)."""
        rpn = self.detector.rpn
        levels = [(_flat(score, 1)[..., 0], _flat(shift, 4)) for score, shift in zip(*rpn.head(list(maps.values())),
                                                                                     strict=True)]
        best, first = [], 0
        for score, _ in levels:
            best.append(score.topk(min(rpn.pre_nms_top_n(), score.shape[1]))[1] + first)
            first += score.shape[1]
        level = torch.cat([torch.full((index.shape[1],), k) for k, index in enumerate(best)])
        chosen = torch.cat(best, 1)
        scores = torch.cat([score for score, _ in levels], 1).gather(1, chosen).sigmoid()
        shifts = _rows(torch.cat([shift for _, shift in levels], 1), chosen)
        anchors = cast(Tensor, self.anchors)[chosen]
        boxes = rpn.box_coder.decode_single(shifts.flatten(0, 1), anchors.flatten(0, 1)).view_as(shifts)
        boxes = self.clip(boxes)
        valid = _larger(boxes, _SMALLEST_PROPOSAL) & (scores >= rpn.score_thresh)
        scores = suppress(boxes, scores, level, len(best), valid, rpn.nms_thresh)
        kept, index = scores.topk(min(rpn.post_nms_top_n(), scores.shape[1]))
        return _rows(boxes, index), kept >= 0

    def detect(self, maps: dict[str, Tensor], proposals: Tensor, real: Tensor) -> tuple[Tensor, ...]:
        """Return boxes, scores and labels of the detections in the proposals, best first."""
        heads = self.detector.box_heads
        n, p = real.shape
        logits, shifts = heads.box_predictor(heads.box_head(pool(heads.box_roi_pool, maps, proposals)))
        boxes = heads.box_coder.decode_single(shifts, proposals.flatten(0, 1)).reshape(n, p, -1, 4)[:, :, 1:]
        boxes = self.clip(boxes).flatten(1, 2)
        scores = logits.softmax(-1).reshape(n, p, -1)[:, :, 1:]
        classes = scores.shape[2]
        valid = (scores > heads.score_thresh) & real[..., None]
        valid = valid.flatten(1) & _larger(boxes, _SMALLEST_DETECTION)
        label = torch.arange(classes).repeat(p)
        scores = suppress(boxes, scores.flatten(1), label, classes, valid, heads.nms_thresh)
        kept, index = scores.topk(min(heads.detections_per_img, scores.shape[1]))
        return _rows(boxes, index), kept.clamp(min=0), label[index] + 1

    def clip(self, boxes: Tensor) -> Tensor:
        """Return boxes (..., 4) clipped to the input."""
        height, width = self.detector.image_size
        x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
        return torch.stack([x, y], -1).flatten(-2)


class MaskGraph(DetectionGraph):
    """Mask R-CNN."""

    outputs: ClassVar[dict[str, str]] = {
        **DetectionGraph.outputs, "masks": "(N, D, S, S) probability that each cell of the box belongs to the object"}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return ``boxes``, ``scores``, ``labels`` and ``masks``."""
        model, maps = cast(InstanceSegmenter, self.model), self.maps(images)
        boxes, scores, labels = self.detect(maps, *self.propose(maps))
        logits = model.mask_predictor(model.mask_head(pool(model.mask_pool, maps, boxes)))
        side = logits.shape[-1]
        of_label = labels.flatten()[:, None, None, None].expand(-1, 1, side, side)
        masks = logits.gather(1, of_label)[:, 0].sigmoid()
        return boxes, scores, labels, masks.reshape(*labels.shape, side, side)


def suppress(boxes: Tensor, scores: Tensor, group: Tensor, groups: int, valid: Tensor, threshold: float) -> Tensor:
    """Return the scores (N, M) after non-maximum suppression within each group of each image, -1 for dropped boxes.

    As in torchvision's ``batched_nms``, boxes of different groups are moved apart and suppressed together.

    Args:
        boxes: (N, M, 4).
        scores: (N, M).
        group: (M,) or (N, M) in 0 .. groups - 1.
        groups: number of groups.
        valid: (N, M) whether a box may be kept.
        threshold: IoU above which the box with the lower score is dropped.
    """
    span = torch.where(valid[..., None], boxes, 0).max() + 1
    slot = group + groups * torch.arange(boxes.shape[0])[:, None]
    apart = (boxes + (slot * span)[..., None]).flatten(0, 1)
    candidates = valid.flatten().nonzero()[:, 0]
    kept = candidates[nms(apart[candidates], scores.flatten()[candidates], threshold)]
    stays = torch.zeros_like(scores.flatten()).index_fill(0, kept, 1).view_as(scores)
    return torch.where(stays > 0, scores, -1)


def pool(pooler: MultiScaleRoIAlign, maps: dict[str, Tensor], boxes: Tensor) -> Tensor:
    """Return the features (N * R, C, k, k) of boxes (N, R, 4), each pooled from the level assigned by the pooler.

    Every box is pooled from every level and one is selected; torchvision sorts the boxes by level first.
    """
    n, r = boxes.shape[:2]
    flat = boxes.flatten(0, 1)
    image = torch.arange(n)[:, None].expand(n, r).reshape(-1, 1).to(flat.dtype)
    rois = torch.cat([image, flat], 1)
    assert pooler.scales is not None
    assert pooler.map_levels is not None
    pooled = torch.stack([
        roi_align(maps[name], rois, pooler.output_size, scale, pooler.sampling_ratio)
        for name, scale in zip(pooler.featmap_names, pooler.scales, strict=True)])
    level = pooler.map_levels([flat])
    return pooled.gather(0, level[None, :, None, None, None].expand(1, *pooled.shape[1:]))[0]


def _flat(scores: Tensor, width: int) -> Tensor:
    """Return a map (N, A * width, h, w) as (N, h * w * A, width), in the order of the anchors."""
    n, _, h, w = scores.shape
    return scores.reshape(n, -1, width, h, w).permute(0, 3, 4, 1, 2).flatten(1, 3)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Return (N, K, 4): the rows ``index`` (N, K) of ``values`` (N, M, 4)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def _larger(boxes: Tensor, side: float) -> Tensor:
    """Return which boxes (..., 4) have both sides of at least ``side``."""
    return (boxes[..., 2] - boxes[..., 0] >= side) & (boxes[..., 3] - boxes[..., 1] >= side)


GRAPHS: dict[type[TaskModel], type[Graph]] = {
    Classifier: LogitsGraph, Segmenter: LogitsGraph, Detector: DetectionGraph, InstanceSegmenter: MaskGraph,
}


def graph_of(method: Method) -> Graph:
    """Return the graph of a method's network, on the CPU and in evaluation mode.

    Raises:
        ParameterError: the method predicts with more than its network.
    """
    if type(method).predict is not Method.predict:
        raise ParameterError(f"export: the method '{method.name}' does more at test time than run its network, which a "
                             "graph cannot hold; export it with export.format: mlflow")
    return GRAPHS[type(method.model)](method.model).cpu().eval()
