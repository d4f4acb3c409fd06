"""DiGA: losses against their definitions, and the images that they see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dg_project.config import BackboneParams, SegmentationParams
from dg_project.core.errors import DataError
from dg_project.data.batches import Batch
from dg_project.methods.base import Method
from dg_project.methods.combined.drsf_diga import DRSFDiGA
from dg_project.methods.diga import self_training
from dg_project.methods.diga.method import DiGA, DiGACrossDoMix, DiGAWarmUp
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.tasks.segmentation import input_masks

DOMAINS = ["day", "night", "adapt"]
TARGETS = ["fog", "rain"]
CLASSES = ["road", "sky", "car"]


def method(name: str, **options: Any) -> Method:
    head = SegmentationParams(image_size=(64, 96), channels=16, classes=CLASSES, dropout=0)
    built = build_method(ModelSpec(
        method=name, method_params=options, task="segmentation", classes=CLASSES, domains=DOMAINS,
        backbone=BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0),
        head=head.model_dump(mode="json")))
    built.adapt_to(TARGETS)
    return built.train()


def batch(brightness: float = 0.0) -> Batch:
    """Two source images, a pseudo image of each, and two unlabelled ones, ``brightness`` added to the latter."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 64, 96, generator=generator) * 0.5
    mask = torch.zeros(64, 96, dtype=torch.uint8)
    mask[:20], mask[40:, 30:60], mask[:, 90:] = 1, 2, 255
    adapt = Batch(list(images[4:] + brightness), [{"domain": name} for name in TARGETS], torch.full((2,), 2),
                  torch.tensor([-1, -2]), torch.ones(2))
    return Batch(list(images[:4]), [{"mask": mask}] * 4, torch.tensor([0, 1, 0, 1]), torch.tensor([3, 3, 5, 5]),
                 torch.ones(4), adapt)


def losses(of: Method, rows: Batch, progress: float) -> dict[str, Tensor]:
    of.begin_step()
    torch.manual_seed(0)
    found = of.losses(rows, progress)
    of.end_step()
    return found


def test_warm_up_losses() -> None:
    warm_up = method("diga_warmup", beta=0.0, lambda_skd=0.7)
    assert isinstance(warm_up, DiGAWarmUp)
    rows = batch()
    losses(warm_up, rows, 0.0)  # the first teacher is the student
    with torch.no_grad():
        for weight in warm_up.model.parameters():
            weight += 0.02 * torch.randn_like(weight)
    found = losses(warm_up, rows, 0.0)
    inputs = warm_up.source(rows)
    student = warm_up.model.pixel_logits(inputs.images)
    teacher = warm_up.distillation.model.pixel_logits(inputs.images)
    mask = torch.stack([target["mask"] for target in inputs.targets or []])
    entropy = -(teacher.softmax(1) * student.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(found["loss_segmentation"], F.cross_entropy(student, mask, ignore_index=255))
    torch.testing.assert_close(found["loss_skd"], 0.7 * 1.5 * entropy, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(teacher, student)


def test_teacher_has_no_gradient() -> None:
    warm_up = method("diga_warmup")
    torch.stack(list(losses(warm_up, batch(), 0.0).values())).sum().backward()
    assert all(weight.grad is None for weight in warm_up.distillation.parameters())
    assert any(weight.grad is not None for weight in warm_up.model.parameters())


def test_crossdomix_view() -> None:
    mix = method("diga_crossdomix")
    assert isinstance(mix, DiGACrossDoMix)
    rows = batch()
    source, everything = mix.source(rows), mix.model.prepare(rows.images).images
    torch.manual_seed(0)
    views = mix.views(rows, source, 0.0)
    for k, target in enumerate(source.targets or []):
        own, pseudo = ((views[k] == everything[2 * k + made]).all(0) for made in (0, 1))
        assert (own ^ pseudo).all()
        assert own[target["mask"] == 255].all()
        kept = {c for c in range(3) if own[target["mask"] == c].all()}
        assert len(kept) == 1, "half of three classes, rounded down"


def test_diga_targets_reach_only_loss_mix() -> None:
    for progress, changed in ((0.49, set()), (0.5, {"loss_mix"})):
        found = []
        for brightness in (0.0, 0.4):
            adapting = method("diga")
            losses(adapting, batch(brightness), progress)
            found.append(losses(adapting, batch(brightness), progress))
        dark, bright = found
        assert ("loss_mix" in dark) == (progress >= 0.5)
        differ = {name for name in dark if not torch.equal(dark[name], bright[name])}
        assert differ - {"log_consensus"} == changed


def test_loss_mix_equals_cross_entropy(
        monkeypatch: pytest.MonkeyPatch) -> None:
    adapting = method("diga", self_training={"lambda_mix": 0.3, "beta": 0.0})
    assert isinstance(adapting, DiGA)
    rows = batch()
    losses(adapting, rows, 0.5)
    agreed = torch.randint(0, 3, (2, 64, 96), generator=torch.Generator().manual_seed(2))
    agreed[:, 50:] = 255
    pasted = torch.zeros(2, 64, 96, dtype=torch.bool)
    pasted[:, :, :40] = True
    monkeypatch.setattr(adapting.self_training.consensus, "label", lambda *_: agreed)
    monkeypatch.setattr(self_training, "half_of_the_classes", lambda _: pasted)
    source, adapt = adapting.source(rows), rows.adapt
    assert adapt is not None
    assert source.targets is not None
    found = adapting.self_training.losses(adapting.model, adapting.distillation.model,
                                          (source.images, input_masks(source)), adapt)
    target = adapting.model.prepare(adapt.images).images
    mask = torch.stack([one["mask"] for one in source.targets])
    logits = adapting.model.pixel_logits(torch.where(pasted[:, None], source.images, target))
    labels = torch.where(pasted, mask, agreed)
    expected = torch.stack([F.cross_entropy(one[None], label[None], ignore_index=255, reduction="sum")
                            for one, label in zip(logits, labels, strict=True)]) / (labels != 255).sum((1, 2))
    torch.testing.assert_close(found["loss_mix"], 0.3 * expected.mean(), rtol=1e-5, atol=1e-5)
    assert found["log_consensus"] == pytest.approx(50 / 64)


@pytest.mark.parametrize("name", ["diga", "drsf_diga"])
def test_warm_up_is_not_selectable(name: str) -> None:
    adapting = method(name, self_training={"start": 0.4})
    assert [adapting.selectable(share) for share in (0.2, 0.4, 0.5, 1.0)] == [False, False, True, True]


def test_diga_round_start() -> None:
    adapting = method("diga", self_training={"min_pixels": 1})
    assert isinstance(adapting, DiGA)
    for _ in range(3):
        losses(adapting, batch(), 0.1)
    assert int(adapting.self_training.consensus.centroids.waiting.sum()) == 0
    first = losses(adapting, batch(), 0.5)
    assert int(adapting.distillation.teacher.updates) == 1
    second = losses(adapting, batch(), 0.6)
    assert first["log_consensus"] == 0
    assert 0 < second["log_consensus"] <= 1
    stored = adapting.inference_state()
    assert not any(name.startswith(("distillation.", "self_training.")) for name in stored)


def test_drsf_diga_losses_that_see_targets() -> None:
    for progress, changed in ((0.1, {"loss_adv_image"}), (0.6, {"loss_adv_image", "loss_mix"})):
        dark, bright = (losses(method("drsf_diga", style_reassembly=0.0, mixstyle_stages=[]), batch(value), progress)
                        for value in (0.0, 0.4))
        assert {"loss_skd", "loss_align", "loss_rea"} <= set(dark)
        assert {name for name in dark if not torch.equal(dark[name], bright[name])} == changed
    adapting = method("drsf_diga")
    assert isinstance(adapting, DRSFDiGA)
    losses(adapting, batch(), 0.6)
    assert adapting.dfdr is not None
    assert adapting.dfdr.exchange is None
    assert set(adapting.distillation.teacher.module) == {"model", "dfdr", "mixer"}


def test_diga_without_targets() -> None:
    rows = batch()
    rows.adapt = None
    with pytest.raises(DataError, match="'diga' adapts to unlabelled target images"):
        losses(method("diga"), rows, 0.0)
