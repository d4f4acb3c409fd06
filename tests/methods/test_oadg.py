"""OA-DG: the losses between two views, numerically, and on a small detector."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dg_project.config import BackboneParams, DetectionParams
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.methods import oadg as module
from dg_project.methods.base import check_task
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.methods.oadg import OADG, contrastive_loss, jensen_shannon

ADDED = ("loss_jsd_rpn", "loss_jsd_roi", "loss_cont")


def method(**options: Any) -> OADG:
    torch.manual_seed(0)
    detection = DetectionParams(image_size=(64, 96), fpn_channels=16, box_head_features=16, proposals_train=32,
                                rois_per_image=16, anchors_per_image=32)
    one = build_method(ModelSpec(
        method="oadg", method_params=options, classes=["car", "person"], domains=["day"],
        backbone=BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0), head=detection.model_dump()))
    assert isinstance(one, OADG)
    return one.train()


def batch(n: int = 4) -> Batch:
    images = torch.rand(n, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    target = {"boxes": torch.tensor([[8.0, 10.0, 40.0, 34.0], [50.0, 20.0, 80.0, 60.0]]),
              "labels": torch.tensor([1, 2]), "difficult": torch.tensor([False, False])}
    return Batch(list(images), [dict(target) for _ in range(n)], torch.zeros(n, dtype=torch.int64), torch.arange(n),
                 torch.ones(n))


def losses(of: Batch, **options: Any) -> dict[str, Tensor]:
    one = method(**options)
    torch.manual_seed(1)
    return one.losses(of, 0.0)


def test_jensen_shannon_of_known_distributions() -> None:
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    torch.testing.assert_close(jensen_shannon(p, q), torch.tensor([math.log(2), 0.0]))


def test_contrastive_loss_by_hand() -> None:
    vectors, labels = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), torch.tensor([1, 1, 0])
    # Cosines 1 and 0, temperature 0.5: -log(e^2 / (e^2 + e^0)) for both, and the third has no partner.
    assert float(contrastive_loss(vectors, labels, 0.5)) == pytest.approx(math.log(1 + math.exp(-2)))
    alone = contrastive_loss(torch.rand(2, 4, requires_grad=True), torch.tensor([0, 1]), 0.5)
    assert float(alone.detach()) == 0


def test_equal_views_diverge_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "oa_mix", lambda image, boxes: image)
    same = losses(batch())
    for name in ("loss_jsd_rpn", "loss_jsd_roi"):
        torch.testing.assert_close(same[name], torch.tensor(0.0), atol=1e-5, rtol=0)
    monkeypatch.setattr(module, "oa_mix", lambda image, boxes: image * 0.2)
    assert float(losses(batch())["loss_jsd_roi"].detach()) > 1e-5


def test_weights_scale_the_losses() -> None:
    plain, scaled = losses(batch()), losses(batch(), lambda_rpn=0.2, lambda_roi=5.0, lambda_cont=0.02)
    assert {*ADDED, "loss_class", "loss_box", "loss_objectness", "loss_rpn_box"} == set(plain)
    for name, factor in zip(ADDED, (2.0, 0.5, 2.0), strict=True):
        torch.testing.assert_close(scaled[name], factor * plain[name])


def test_step_has_as_many_images_as_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    one, seen = method(), []
    features = one.model.features
    monkeypatch.setattr(one.model, "features", lambda images: seen.append(len(images)) or features(images))
    one.losses(batch(4), 0.0)
    assert seen == [4]


def test_images_without_objects() -> None:
    of = batch(2)
    of.targets = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
                   "difficult": torch.zeros(0, dtype=torch.bool)} for _ in range(2)]
    assert all(value.isfinite() for value in losses(of).values())


def test_oadg_is_for_detectors() -> None:
    with pytest.raises(ParameterError, match="'oadg' is made for detection and instance_segmentation, not for"):
        check_task(OADG, "segmentation")
