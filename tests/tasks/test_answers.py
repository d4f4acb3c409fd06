"""Answers of every task at the same places of two views, and their divergence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dg_project.config import TASK_PARAMS, BackboneParams
from dg_project.tasks import build_task
from dg_project.tasks.answers import Answers, divergence, kl_divergence
from dg_project.tasks.base import TaskModel, take

SIZE = (64, 96)
BOX = torch.tensor([[8.0, 10.0, 40.0, 34.0]])


def model(task: str) -> TaskModel:
    small: dict[str, Any] = {"detection": {"fpn_channels": 16, "box_head_features": 16, "proposals_train": 32,
                                           "proposals_test": 32, "rois_per_image": 16},
                             "segmentation": {"classes": ["road", "car", "sky"], "channels": 16}}
    small["instance_segmentation"] = small["detection"] | {"mask_channels": 8}
    torch.manual_seed(0)
    params = TASK_PARAMS[task].model_validate({"image_size": SIZE, **small.get(task, {})})
    classes = small["segmentation"]["classes"] if task == "segmentation" else ["car", "bus"]
    backbone = BackboneParams(name="test_efficientnet", weights=None, frozen_stages=0)
    return build_task(task, backbone, params, classes).eval()


def target() -> dict[str, Tensor]:
    mask = torch.full(SIZE, 255, dtype=torch.uint8)
    mask[:32] = 1
    instances = torch.zeros(1, *SIZE, dtype=torch.bool)
    instances[0, 10:34, 8:40] = True
    return {"boxes": BOX.clone(), "labels": torch.tensor([1]), "difficult": torch.tensor([False]), "mask": mask,
            "instances": instances}


def asked(one: TaskModel, images: Tensor, places: Any = None) -> Answers:
    inputs = one.prepare(list(images), [target() for _ in images])
    return one.answers(one.neck(one.features(inputs.images)), inputs, places)


def test_divergence_of_distributions() -> None:
    reference, logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    p = torch.tensor([2.0, 0.0]).softmax(0)
    expected = float((p * (p / 0.5).log()).sum())
    torch.testing.assert_close(kl_divergence(reference, logits), torch.tensor([expected, 0.0]))


def test_weights_of_images_and_terms() -> None:
    image, of_object = torch.tensor([0, 0, 1]), torch.tensor([1])
    one = Answers(torch.zeros(3, 2), image, deltas=torch.zeros(1, 4), masks=torch.zeros(1, 2, 2),
                  object_image=of_object)
    other = Answers(torch.tensor([[3.0, 0.0]] * 3), image, deltas=torch.full((1, 4), 2.0),
                    masks=torch.full((1, 2, 2), 20.0), object_image=of_object)
    full, half = (divergence(other, one, torch.tensor([1.0, w])) for w in (1.0, 0.5))
    kl = float(kl_divergence(other.logits[:1], one.logits[:1]))
    assert float(full["class"]) == pytest.approx(kl)
    assert float(half["class"]) == pytest.approx(kl * 2.5 / 3)
    assert float(full["box"]) == pytest.approx(2 - 1 / 18)
    assert float(half["box"]) == pytest.approx(float(full["box"]) / 2)
    assert float(full["mask"]) == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("task", ["detection", "instance_segmentation", "segmentation", "classification"])
def test_same_view_has_the_same_answers(task: str) -> None:
    one, images = model(task), torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    reference = asked(one, images)
    again = divergence(reference, asked(one, images, reference.places), torch.ones(2))
    assert set(again) == {"detection": {"class", "box"}, "instance_segmentation": {"class", "box", "mask"}}.get(
        task, {"class"})
    for name, value in again.items():
        if name != "mask":  # the cross-entropy with itself is its entropy
            torch.testing.assert_close(value, torch.tensor(0.0), atol=1e-5, rtol=0)
    darker = asked(one, images * 0.2, reference.places)
    assert darker.logits.shape == reference.logits.shape
    changed = divergence(reference, darker, torch.ones(2))
    assert float(changed["class"]) > 1e-6
    changed["class"].backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in one.parameters())


def test_rows_of_maps_ask_their_own_images() -> None:
    one, images = model("detection"), torch.rand(2, 3, *SIZE)
    inputs = one.prepare(list(images), [target(), target()])
    maps = one.neck(one.features(inputs.images))
    rows = torch.tensor([1])
    alone = one.answers(take(maps, rows), inputs.rows(rows))
    assert set(alone.image.tolist()) == {0}
    assert len(alone.logits) <= 16


def test_unlabelled_pixels_are_not_asked() -> None:
    one = model("segmentation")
    found = asked(one, torch.rand(1, 3, *SIZE))
    cells = one.logits(one.neck(one.features(torch.rand(1, 3, *SIZE))))[0, 0].numel()
    assert len(found.logits) == cells // 2
