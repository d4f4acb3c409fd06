"""The detector: targets, losses compared with torchvision, weights, difficult boxes, decoding."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from dg_project.config import BackboneParams, DetectionParams
from dg_project.core.errors import ParameterError
from dg_project.tasks import build_task
from dg_project.tasks.detection import Detector, PresenceHead, image_labels
from dg_project.tasks.faster_rcnn import build_rpn, stride, weighted_mean

CLASSES = ["bus", "car", "person"]
BACKBONE = BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0)
SIZES = DetectionParams(image_size=(64, 96), fpn_channels=16, box_head_features=16, proposals_train=32,
                        proposals_test=16, rois_per_image=16, anchors_per_image=32)


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    model = build_task("detection", BACKBONE, SIZES, CLASSES)
    assert isinstance(model, Detector)
    return model.train()


@pytest.mark.parametrize(("side", "cells", "expected"), [
    (192, 48, 4), (750, 188, 4), (1333, 334, 4), (750, 47, 16), (1333, 42, 32), (1333, 21, 64), (90, 3, 32),
    (224, 16, 14),
])
def test_stride(side: int, cells: int, expected: int) -> None:
    assert stride(side, cells) == expected


def test_anchors_exact() -> None:
    image, maps = torch.zeros(1, 3, 750, 1333), [torch.zeros(1, 16, 188, 334), torch.zeros(1, 16, 12, 21)]
    anchors = build_rpn(SIZES.model_copy(update={"anchor_sizes": [32, 512]})).anchor_generator
    both = anchors(ImageList(image, [(750, 1333)]), maps)[0]
    short = anchors(ImageList(image, [(750, 1333)]), [features.bfloat16() for features in maps])[0]
    assert short.dtype == torch.float32
    assert torch.equal(both, short)
    centres = (both[:, :2] + both[:, 2:]) / 2
    assert centres[:188 * 334 * 3].amax(0).tolist() == [333 * 4, 187 * 4]
    assert centres[188 * 334 * 3:].amax(0).tolist() == [20 * 64, 11 * 64]


def target(*boxes: tuple[float, ...], difficult: tuple[bool, ...] | None = None) -> dict[str, Tensor]:
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.arange(len(boxes)) % 3 + 1,
            "difficult": torch.tensor(difficult or (False,) * len(boxes), dtype=torch.bool)}


TWO = [target((8.0, 10.0, 40.0, 34.0), (50.0, 20.0, 80.0, 60.0)), target((20.0, 5.0, 36.0, 50.0))]


def images(n: int = 2, height: int = 64, width: int = 96) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, height, width, generator=generator) for _ in range(n)]


def test_prepare_boxes_and_difficult(detector: Detector) -> None:
    given = target((10.0, 20.0, 30.0, 40.0), (0.0, 0.0, 50.0, 50.0), difficult=(False, True))
    inputs = detector.prepare(images(1, 128, 48), [given])
    assert inputs.images.shape == (1, 3, 64, 96)
    assert inputs.sizes == [(128, 48)]
    assert inputs.targets is not None
    assert inputs.targets[0]["boxes"].tolist() == [[20.0, 10.0, 60.0, 20.0]]
    assert inputs.targets[0]["ignored"].tolist() == [[0.0, 0.0, 100.0, 25.0]]
    assert inputs.targets[0]["labels"].tolist() == [1]


def test_losses_equal_torchvision(detector: Detector) -> None:
    inputs = detector.prepare(images(), TWO)
    maps = detector.neck(detector.features(inputs.images))
    shown = detector._image_list(inputs)
    torch.manual_seed(3)
    ours = detector.losses(maps, inputs, torch.ones(2))
    torch.manual_seed(3)
    proposals, reference = RegionProposalNetwork.forward(detector.rpn, shown, maps, inputs.targets)
    _, heads = RoIHeads.forward(detector.box_heads, maps, proposals, shown.image_sizes, inputs.targets)
    names = {"loss_objectness": reference["loss_objectness"], "loss_rpn_box": reference["loss_rpn_box_reg"],
             "loss_class": heads["loss_classifier"], "loss_box": heads["loss_box_reg"]}
    assert set(ours) == set(names)
    for name, value in names.items():
        torch.testing.assert_close(ours[name], value)


def test_weights_scale_losses(detector: Detector) -> None:
    inputs = detector.prepare(images(), TWO)
    maps = detector.neck(detector.features(inputs.images))

    def losses(*weight: float) -> Tensor:
        torch.manual_seed(3)
        return torch.stack(list(detector.losses(maps, inputs, torch.tensor(weight)).values()))

    both, first, second = losses(1, 1), losses(1, 0), losses(0, 1)
    torch.testing.assert_close(first + second, both)
    torch.testing.assert_close(losses(0.5, 0.25), 0.5 * first + 0.25 * second)
    assert losses(0, 0).abs().max() == 0


def test_weighted_mean() -> None:
    loss = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    assert weighted_mean(loss, torch.tensor([1.0, 0.5]), 4).item() == pytest.approx((2 + 0.5 * 4) / 4)
    assert weighted_mean(torch.zeros(0, 4), torch.zeros(0), 0).item() == 0


def test_difficult_boxes_ignored(detector: Detector) -> None:
    box = (20.0, 10.0, 60.0, 50.0)
    easy, hard, none = (detector.prepare(images(1), [t]).targets for t in (
        target(box), target(box, difficult=(True,)), target()))
    anchors = [torch.tensor([[20.0, 10.0, 60.0, 50.0], [70.0, 0.0, 90.0, 20.0]])]
    labels = [detector.rpn.assign_targets_to_anchors(anchors, targets)[0][0].tolist() for targets in (easy, hard, none)]
    assert labels == [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]
    labels = detector.box_heads.sample([anchors[0].clone()], hard).labels
    assert labels[0].tolist() == [0], "only the proposal away from the difficult box is sampled"


def test_losses_without_boxes(detector: Detector) -> None:
    inputs = detector.prepare(images(), [target(), target()])
    losses = detector.losses(detector.neck(detector.features(inputs.images)), inputs, torch.ones(2))
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert math.isfinite(total.item())
    assert losses["loss_box"] == 0
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in detector.parameters())


def test_predictions_in_original_size(detector: Detector) -> None:
    shown = [images(1, 64, 96)[0], images(1, 128, 192)[0], images(1, 40, 30)[0]]
    predictions = detector.predict(shown)
    assert detector.training, "predict restores the mode"
    for image, prediction in zip(shown, predictions, strict=True):
        n = len(prediction["scores"])
        assert prediction["boxes"].shape == (n, 4)
        assert prediction["labels"].shape == (n,)
        height, width = image.shape[1:]
        assert (prediction["boxes"] >= 0).all()
        assert (prediction["boxes"] <= torch.tensor([width, height, width, height]) + 1e-3).all()
        assert ((prediction["labels"] >= 1) & (prediction["labels"] <= 3)).all()


def test_detection_pseudo_labels(
        detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, labels = torch.tensor([[0.0, 0, 9, 9]] * 4), torch.tensor([1, 2, 3, 1])
    found = [{"boxes": boxes, "labels": labels, "scores": torch.tensor(scores)}
             for scores in ([0.9, 0.8, 0.5, 0.1], [0.7, 0.2, 0.1, 0.0])]
    monkeypatch.setattr(Detector, "decode", lambda *inputs: found)
    targets, weight = detector.pseudo_label(images(), sure=0.8, unsure=0.3)
    assert [target["labels"].tolist() for target in targets] == [[1, 2, 3], [1]]
    assert [target["difficult"].tolist() for target in targets] == [[False, False, True], [True]]
    assert weight.tolist() == pytest.approx([0.85, 0.0])
    assert detector.pseudo_label(images(), sure=0.8, unsure=0.8)[0][0]["labels"].tolist() == [1, 2]
    assert detector.training


def test_instance_rows_and_slots(detector: Detector) -> None:
    inputs = detector.prepare(images(), TWO)
    maps = detector.neck(detector.features(inputs.images))
    instances = detector.instance_features(maps, inputs)
    assert instances.vectors.shape == (3, SIZES.box_head_features)
    assert instances.row.tolist() == [0, 0, 1]
    assert instances.slot.tolist() == [0, 1, 0]
    empty = detector.instance_features(maps, detector.prepare(images(), [target(), target()]))
    assert empty.vectors.shape == (0, SIZES.box_head_features)


def test_presence_head() -> None:
    head = PresenceHead(5, 3)
    logits = torch.tensor([[2.0, -1.0, 0.0], [0.5, 3.0, -4.0]])
    entropy = 0.0
    for p in logits.sigmoid().flatten().tolist():
        entropy -= (p * math.log2(p) + (1 - p) * math.log2(1 - p)) / 6
    assert head.entropy(logits).item() == pytest.approx(entropy, abs=1e-6)
    assert head.entropy(torch.zeros(2, 3)).item() == pytest.approx(1)
    assert head.entropy(torch.full((2, 3), 300.0)).item() == pytest.approx(0)
    assert image_labels(TWO, 3).tolist() == [[1, 1, 0], [1, 0, 0]]


def test_detector_size_errors() -> None:
    with pytest.raises(ParameterError, match="anchor_sizes"):
        build_task("detection", BACKBONE, SIZES.model_copy(update={"anchor_sizes": [8]}), CLASSES)
    with pytest.raises(ParameterError, match="fpn_stages"):
        build_task("detection", BACKBONE, SIZES.model_copy(update={"fpn_stages": [3, 4, 9]}), CLASSES)
    with pytest.raises(ParameterError, match="Did you mean 'detection'"):
        build_task("detections", BACKBONE, SIZES, CLASSES)
