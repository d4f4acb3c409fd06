"""Ignored boxes in training: difficult ones by IoU, those of ignored classes by the share that they cover."""

from __future__ import annotations

import pytest
import torch
from tasks.test_detection import BACKBONE, CLASSES, SIZES, images, target
from torch import Tensor
from torchvision.ops import box_iou

from dg_project.config import InstanceSegmentationParams
from dg_project.tasks import build_task, faster_rcnn
from dg_project.tasks.detection import Detector, image_labels
from dg_project.tasks.faster_rcnn import covered
from dg_project.tasks.instance_segmentation import InstanceSegmenter

BOX = (20.0, 10.0, 60.0, 50.0)
PART, THIRD, QUARTER, AWAY = [30.0, 20.0, 40.0, 30.0], [48.0, 10.0, 84.0, 50.0], [50.0, 10.0, 90.0, 50.0], \
    [70.0, 0.0, 90.0, 20.0]


def ignoring(given: dict[str, Tensor], *which: int) -> dict[str, Tensor]:
    """Give some boxes of a target an ignored class."""
    for k in which:
        given["labels"][k], given["difficult"][k] = -2, True
    return given


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    model = build_task("detection", BACKBONE, SIZES, CLASSES)
    assert isinstance(model, Detector)
    return model.train()


def test_covered_share() -> None:
    boxes = torch.tensor([[*BOX], PART, THIRD, QUARTER, AWAY, [30.0, 30.0, 30.0, 30.0]])
    assert covered(boxes, torch.tensor([BOX]))[0].tolist() == pytest.approx([1, 1, 1 / 3, 1 / 4, 0, 0])


def test_anchors_on_ignored_class(detector: Detector) -> None:
    given = ignoring(target(BOX, (70.0, 0.0, 90.0, 20.0)), 0)
    targets = detector.prepare(images(1), [given]).targets
    anchors = [torch.tensor([[*BOX], PART, THIRD, QUARTER, AWAY])]
    labels, _ = detector.rpn.assign_targets_to_anchors(anchors, targets)
    assert labels[0].tolist() == [-1, -1, -1, 0, 1]
    difficult = detector.prepare(images(1), [target(BOX, difficult=(True,))]).targets
    assert detector.rpn.assign_targets_to_anchors(anchors, difficult)[0][0].tolist() == [-1, 0, 0, 0, 0]


def test_proposals_on_ignored_class(detector: Detector) -> None:
    targets = detector.prepare(images(1), [ignoring(target(BOX), 0)]).targets
    half = [40.0, 10.0, 80.0, 50.0]
    sampled = detector.box_heads.sample([torch.tensor([[*BOX], PART, half, THIRD, AWAY])], targets)
    assert sampled.proposals[0].tolist() == [THIRD, AWAY], "never sampled on the ignored box, not even as background"
    assert sampled.labels[0].tolist() == [0, 0]


def test_object_on_ignored_class_is_learned(detector: Detector) -> None:
    targets = detector.prepare(images(1), [ignoring(target((0.0, 0.0, 90.0, 60.0), tuple(PART)), 0)]).targets
    assert detector.rpn.assign_targets_to_anchors([torch.tensor([PART, AWAY])], targets)[0][0].tolist() == [1, -1]
    sampled = detector.box_heads.sample([torch.tensor([AWAY])], targets)
    assert (sampled.proposals[0].tolist(), sampled.labels[0].tolist()) == ([PART], [2])


def test_losses_do_not_see_ignored_class(detector: Detector) -> None:
    """The ignored box covers the image, so nothing but the object remains; its own label is never used."""
    given = ignoring(target(BOX, (0.0, 0.0, 96.0, 64.0)), 1)
    inputs = detector.prepare(images(1), [given])
    assert inputs.targets is not None
    assert image_labels(inputs.targets, 3).tolist() == [[1, 0, 0]]
    maps = detector.neck(detector.features(inputs.images))
    assert len(detector.instance_features(maps, inputs).row) == 1
    inside = detector.box_heads.sample([torch.tensor([PART, AWAY])], inputs.targets)
    assert inside.labels[0].tolist() == [1]
    assert all(value.isfinite() for value in detector.losses(maps, inputs, torch.ones(1)).values())


def test_losses_without_ignored_class_unchanged(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit those of the rule for difficult boxes alone."""
    inputs = detector.prepare(images(), [target(BOX, tuple(QUARTER), difficult=(False, True)), target(BOX)])
    maps = detector.neck(detector.features(inputs.images))

    def losses() -> Tensor:
        torch.manual_seed(3)
        return torch.stack(list(detector.losses(maps, inputs, torch.ones(2)).values()))

    def by_iou(boxes: Tensor, given: dict[str, Tensor], threshold: float) -> Tensor:
        none = torch.zeros(len(boxes), dtype=torch.bool)
        return box_iou(given["ignored"], boxes).amax(0) >= threshold if len(given["ignored"]) else none

    now = losses()
    monkeypatch.setattr(faster_rcnn, "on_ignored", by_iou)
    assert torch.equal(now, losses())


def test_instance_segmentation_skips_ignored_class() -> None:
    torch.manual_seed(0)
    params = InstanceSegmentationParams(**SIZES.model_dump(), mask_channels=8)
    model = build_task("instance_segmentation", BACKBONE, params, CLASSES).train()
    assert isinstance(model, InstanceSegmenter)
    given = ignoring(target(BOX, tuple(PART)), 0)
    given["instances"] = torch.zeros(2, 64, 96, dtype=torch.bool)
    given["instances"][1, 20:30, 30:40] = True
    inputs = model.prepare(images(1), [given])
    assert inputs.targets is not None
    assert inputs.targets[0]["labels"].tolist() == [2]
    assert torch.equal(inputs.targets[0]["masks"], given["instances"][1:])
    losses = model.losses(model.neck(model.features(inputs.images)), inputs, torch.ones(1))
    assert all(value.isfinite() for value in losses.values())
