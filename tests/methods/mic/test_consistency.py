"""Masks, and the loss on masked images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.data.batches import Batch
from dg_project.methods.mic.consistency import ConsistencyParams, MaskedConsistency, block_mask
from dg_project.tasks import build_task


def test_block_mask() -> None:
    torch.manual_seed(0)
    mask = block_mask((40, 70, 100), 32, 0.3)
    assert mask.shape == (40, 1, 70, 100)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    for y, x in ((0, 0), (32, 64), (64, 96)):
        block = mask[:, 0, y:y + 32, x:x + 32].flatten(1)
        assert (block == block[:, :1]).all()
    assert float(mask[:, 0, ::32, ::32].mean()) == pytest.approx(0.7, abs=0.07)
    assert block_mask((2, 8, 8), 4, 0.0).all()
    assert not block_mask((2, 8, 8), 4, 1.0).any()


def classifier() -> nn.ModuleDict:
    torch.manual_seed(0)
    head = ClassificationParams(image_size=(32, 32), dropout=0.0)
    backbone = BackboneParams(name="test_resnet", weights=None, frozen_stages=0, frozen_bn=True)
    return nn.ModuleDict({"model": build_task("classification", backbone, head, ["a", "b", "c"])})


def images(weight: float = 1.0) -> Batch:
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Batch(list(pixels), [{}] * 4, torch.full((4,), 3), -1 - torch.arange(4), torch.full((4,), weight))


def consistency(student: nn.ModuleDict, of: Batch, **options: float) -> tuple[Batch, dict[str, Tensor]]:
    module = MaskedConsistency(student, ConsistencyParams.model_validate(options))
    module.train()
    module.teacher.update(student)
    guessed = module.pseudo_label(of)
    torch.manual_seed(0)
    assert not module.teacher.module.training
    assert module.teacher.module["model"].backbone is not student["model"].backbone
    return guessed, module.losses(student["model"], guessed)


def test_consistency_loss() -> None:
    student = classifier()
    guessed, losses = consistency(student, images(), pseudo_sure=0.0, mask_ratio=0.0, lambda_consistency=2.0)
    probabilities = torch.stack([found["probabilities"] for found in student["model"].predict(images().images)])
    confidence, label = probabilities.max(1)
    assert [int(target["labels"]) - 1 for target in guessed.targets] == label.tolist()
    torch.testing.assert_close(guessed.weight, confidence)
    torch.testing.assert_close(losses["loss_consistency"], 2 * (-confidence.log() * confidence).mean())
    torch.testing.assert_close(losses["log_pseudo_weight"], confidence.mean())
    masked = consistency(student, images(), pseudo_sure=0.0, mask_block=8)[1]
    assert not torch.isclose(masked["loss_consistency"], losses["loss_consistency"] / 2)


def test_consistency_unsure_teacher() -> None:
    student = classifier()
    guessed, losses = consistency(student, images(), pseudo_sure=1.0)
    assert not guessed.weight.any()
    assert losses["loss_consistency"] == 0
    halved = consistency(student, images(0.5), pseudo_sure=0.0, mask_ratio=0.0)[1]["loss_consistency"]
    whole = consistency(student, images(), pseudo_sure=0.0, mask_ratio=0.0)[1]["loss_consistency"]
    torch.testing.assert_close(halved, whole / 2)
