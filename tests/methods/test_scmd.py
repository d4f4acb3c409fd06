"""SCMD against its formulas, and refused inputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from streets_fixture import CLASSES, SOURCE

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.methods.scmd import SCMD, cross_modality_logits, distillation_loss, hardest


def student(clip: Path, classes: list[str] = CLASSES, **options: Any) -> SCMD:
    given = {"teacher": str(clip), "embedding_size": 8} | options
    head = ClassificationParams(image_size=(32, 32), dropout=0.0).model_dump(mode="json")
    method = build_method(ModelSpec(method="scmd", method_params=given, task="classification", head=head,
                                    classes=classes, domains=[SOURCE],
                                    backbone=BackboneParams(name="test_resnet", weights=None, frozen_stages=0)))
    assert isinstance(method, SCMD)
    return method


def batch(n: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    targets = [{"labels": torch.tensor([i % len(CLASSES) + 1])} for i in range(n)]
    return Batch([torch.rand(3, 24, 20, generator=generator) for _ in range(n)], targets, torch.zeros(n).long(),
                 torch.arange(n), torch.linspace(0.5, 1, n))


def test_distillation_loss_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    z, t = torch.randn(5, 4, generator=generator), 3 * torch.randn(5, 4, generator=generator)
    q, p = (t / 3).softmax(1), (z / 3).softmax(1)
    expected = 9 * (q * (q.log() - p.log())).sum(1)
    torch.testing.assert_close(distillation_loss(z, t, 3.0), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(distillation_loss(t, t, 3.0), torch.zeros(5), rtol=0, atol=1e-5)


def test_cross_modality_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    projected, texts = torch.randn(3, 6, generator=generator), torch.randn(4, 6, generator=generator)
    texts = texts / texts.norm(dim=1, keepdim=True)
    expected = torch.stack([F.cosine_similarity(row[None], texts) for row in projected])
    start = torch.tensor(math.log(1 / 0.07))
    torch.testing.assert_close(cross_modality_logits(projected, texts, start), expected / 0.07, rtol=1e-5, atol=1e-5)
    capped = cross_modality_logits(projected, texts, torch.tensor(9.0))
    torch.testing.assert_close(capped, 100 * expected, rtol=1e-5, atol=1e-4)


def test_hardest_top_share() -> None:
    loss = torch.tensor([0.1, 3.0, 0.2, 2.0, 0.3, 0.4, 0.5, 0.6, 0.7, 5.0])
    assert sorted(hardest(loss, 0.2).tolist()) == [1, 9]
    assert hardest(loss, 0.01).tolist() == [9]
    assert len(hardest(loss, 0.3)) == 3  # 0.3 * 10 is below 3 in floating point


@pytest.mark.parametrize(("progress", "rows"), [(0.5, 2), (0.75, 2), (0.76, 10)])
def test_scmd_losses(clip: Path, progress: float, rows: int) -> None:
    method, given = student(clip, hard_share=0.2, full_batch_share=0.25).eval(), batch(10)
    found = method.losses(given, progress)
    inputs = method.model.prepare(given.images, given.targets)
    maps = method.model.features(inputs.images)
    z, h = method.model.logits(maps), method.model.vectors(maps)
    labels = torch.tensor([i % 7 for i in range(10)])
    entropy = F.cross_entropy(z, labels, reduction="none")
    chosen = entropy.argsort(descending=True)[:rows]
    teacher = method.guide.teacher
    t = teacher.logits(teacher.images(given.images), method.guide.texts)
    cross = math.exp(method.log_scale.item()) * F.normalize(h @ method.projector.weight.T, dim=1) @ method.guide.texts.T
    q = (t / 3).softmax(1)
    for name, value in {"loss_classification": entropy,
                        "loss_logit": 0.5 * 9 * (q * (q.log() - (z / 3).log_softmax(1))).sum(1),
                        "loss_cross": 0.5 * 9 * (q * (q.log() - (cross / 3).log_softmax(1))).sum(1)}.items():
        expected = (value * given.weight)[chosen].mean()
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-5)


def test_scmd_teacher_is_frozen_and_not_stored(clip: Path) -> None:
    method = student(clip)
    before = {name: value.clone() for name, value in method.guide.teacher._model.state_dict().items()}
    sum(value for name, value in method.losses(batch(4), 1.0).items() if name.startswith("loss_")).backward()
    assert all(torch.equal(value, before[name]) for name, value in method.guide.teacher._model.state_dict().items())
    assert method.projector.weight.grad is not None
    assert all(name.startswith("model.") for name in method.inference_state())


@pytest.mark.parametrize(("options", "classes", "message"), [
    ({"embedding_size": 512}, CLASSES, r"scmd.embedding_size is 512, but the teacher .* of 8 numbers: set .*size=8"),
    ({}, ["car", "{}"], r"the class name '\{\}' breaks the prompt"),
    ({"prompt": "a photo"}, CLASSES, "must have exactly one"),
])
def test_scmd_refuses_teacher_or_class(clip: Path, options: dict[str, Any], classes: list[str],
                                       message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        student(clip, classes, **options).losses(batch(4), 0.0)
