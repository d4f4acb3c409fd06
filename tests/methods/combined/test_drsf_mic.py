"""DRSF with unlabelled targets: which losses their rows reach."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dg_project.config import BackboneParams, DetectionParams
from dg_project.data.batches import Batch
from dg_project.methods.combined.drsf_mic import DRSFUDA
from dg_project.methods.model_folder import ModelSpec, build_method

DOMAINS = ["day", "night", "fog", "adapt"]
ADAPT = len(DOMAINS) - 1
BOXES = torch.tensor([[8.0, 10.0, 40.0, 34.0], [50.0, 20.0, 80.0, 60.0]])


def method(**options: Any) -> DRSFUDA:
    head = DetectionParams(image_size=(64, 96), fpn_channels=16, box_head_features=16, proposals_train=32,
                           proposals_test=16, rois_per_image=16, anchors_per_image=32)
    built = build_method(ModelSpec(
        method="drsf_uda", method_params=options, classes=["car", "person"], domains=DOMAINS,
        backbone=BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0), head=head.model_dump()))
    assert isinstance(built, DRSFUDA)
    return built.train()


def batch(brightness: float = 0.0) -> Batch:
    """Two source images with two pseudo images each, and two unlabelled ones, ``brightness`` added to the latter."""
    images = torch.rand(8, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 0.5
    target = {"boxes": BOXES, "labels": torch.tensor([1, 2]), "difficult": torch.tensor([False, False])}
    nothing = {"boxes": BOXES[:0], "labels": torch.zeros(0).long(), "difficult": torch.zeros(0).bool()}
    adapt = Batch(list(images[6:] + brightness), [nothing] * 2, torch.full((2,), ADAPT), torch.tensor([-1, -2]),
                  torch.ones(2))
    return Batch(list(images[:6]), [target] * 6, torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 0, 0, 5, 5, 5]),
                 torch.ones(6), adapt)


def losses(of: DRSFUDA, batch: Batch) -> dict[str, Tensor]:
    of.begin_step()
    torch.manual_seed(0)
    return of.losses(batch, 0.0)


def test_target_rows_reach_only_the_adversary() -> None:
    own_style = {"style_reassembly": 0.0, "mixstyle_stages": []}
    for options in (own_style, {"task_on_pseudo": True, **own_style}):
        before, after = (losses(method(pseudo_sure=1.0, **options), batch(bright)) for bright in (0.0, 0.2))
        assert before["loss_consistency"] == 0
        differ = {name for name in before if not torch.equal(before[name], after[name])}
        assert differ == {"loss_adv_image"}


def test_style_from_targets() -> None:
    dark, bright = (losses(method(pseudo_sure=1.0, style_reassembly=1.0), batch(light)) for light in (0.0, 0.4))
    assert not torch.equal(dark["loss_class"], bright["loss_class"])


def test_teacher_boxes_reach_the_adversary() -> None:
    unsure, sure = (losses(method(pseudo_sure=score, pseudo_unsure=score), batch()) for score in (1.0, 0.02))
    assert sure["log_pseudo_weight"] > 0
    assert sure["loss_consistency"] > 0
    assert not torch.allclose(sure["loss_adv_instance"], unsure["loss_adv_instance"])


def test_image_mix_with_targets() -> None:
    adapting, rows = method(), batch()
    joined = rows.joined(rows.adapt)
    torch.manual_seed(0)
    mix = adapting.image_mix(joined, torch.zeros(0, 8))
    torch.testing.assert_close(mix.sum(1), torch.ones(2))
    assert (mix[:, joined.domain_id == ADAPT] > 0).any()


def test_teacher_copies_dfdr_and_is_not_stored() -> None:
    adapting = method()
    teacher = adapting.consistency.teacher.module
    assert set(teacher) == {"model", "dfdr", "mixer"}
    assert teacher["model"].backbone.tap("stage3").module is teacher["dfdr"]
    assert teacher["dfdr"] is not adapting.dfdr
    losses(adapting, batch())
    assert adapting.dfdr.exchange is None
    assert teacher["dfdr"].exchange is None
    assert not any(name.startswith("consistency.") for name in adapting.inference_state())
