"""The instance segmenter: mask targets, loss compared with torchvision, masks in original size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import maskrcnn_loss

from dg_project.config import BackboneParams, InstanceSegmentationParams
from dg_project.tasks import build_task
from dg_project.tasks.instance_segmentation import InstanceSegmenter

BOXES = torch.tensor([[8.0, 10.0, 40.0, 34.0], [50.0, 20.0, 80.0, 60.0]])


@pytest.fixture
def segmenter() -> InstanceSegmenter:
    torch.manual_seed(0)
    params = InstanceSegmentationParams(image_size=(64, 96), fpn_channels=16, box_head_features=16, proposals_train=32,
                                        proposals_test=16, rois_per_image=16, mask_roi_size=4, mask_channels=8)
    model = build_task("instance_segmentation", BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0),
                       params, ["car", "person"])
    assert isinstance(model, InstanceSegmenter)
    return model.train()


def target(difficult: tuple[bool, bool] = (False, False)) -> dict[str, Tensor]:
    masks = torch.zeros(2, 64, 96, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES.int().tolist(), strict=True):
        mask[y0:y1, x0:(x0 + x1) // 2] = True
    return {"boxes": BOXES, "labels": torch.tensor([1, 2]), "difficult": torch.tensor(difficult), "instances": masks}


def images(n: int) -> list[Tensor]:
    return [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(k)) for k in range(n)]


def test_mask_targets_match_boxes(segmenter: InstanceSegmenter) -> None:
    inputs = segmenter.prepare(images(1), [target(difficult=(True, False))])
    assert inputs.targets is not None
    assert inputs.targets[0]["boxes"].tolist() == [BOXES[1].tolist()]
    assert torch.equal(inputs.targets[0]["masks"], target()["instances"][1:])


def test_mask_loss_equals_torchvision(segmenter: InstanceSegmenter) -> None:
    inputs = segmenter.prepare(images(2), [target(), target()])
    assert inputs.targets is not None
    maps = segmenter.neck(segmenter.features(inputs.images))
    sampled = segmenter.box_heads.sample([torch.rand(20, 4).cumsum(1) * 20 for _ in range(2)], inputs.targets)
    got = segmenter.more_losses(maps, sampled, inputs.targets, torch.ones(2))["loss_mask"]
    positive = [torch.where(labels > 0)[0] for labels in sampled.labels]
    boxes, labels, matches = ([v[i] for v, i in zip(part, positive, strict=True)]
                              for part in (sampled.proposals, sampled.labels, sampled.matches))
    expected = maskrcnn_loss(segmenter._mask_logits(maps, boxes), boxes, [t["masks"] for t in inputs.targets],
                             [t["labels"] for t in inputs.targets], matches)
    torch.testing.assert_close(got, expected)
    assert sum(map(len, labels)) > 0
    half = segmenter.more_losses(maps, sampled, inputs.targets, torch.full((2,), 0.5))["loss_mask"]
    torch.testing.assert_close(half, got / 2)


def test_mask_loss_without_objects(segmenter: InstanceSegmenter) -> None:
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
             "difficult": torch.zeros(0, dtype=torch.bool), "instances": torch.zeros(0, 64, 96, dtype=torch.bool)}
    inputs = segmenter.prepare(images(1), [empty])
    losses = segmenter.losses(segmenter.neck(segmenter.features(inputs.images)), inputs, torch.ones(1))
    assert losses["loss_mask"].item() == 0
    assert all(value.isfinite() for value in losses.values())


def test_masks_inside_boxes(segmenter: InstanceSegmenter) -> None:
    image = torch.rand(3, 100, 70, generator=torch.Generator().manual_seed(3))
    found = segmenter.predict([image])[0]
    assert found["masks"].shape == (len(found["boxes"]), 100, 70)
    assert found["masks"].dtype == torch.bool
    for mask, (x0, y0, x1, y1) in zip(found["masks"], found["boxes"].tolist(), strict=True):
        ys, xs = torch.where(mask)
        if len(ys):
            assert x0 - 2 <= xs.min()
            assert xs.max() <= x1 + 2
            assert y0 - 2 <= ys.min()
            assert ys.max() <= y1 + 2
