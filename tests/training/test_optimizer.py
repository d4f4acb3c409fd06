"""Learning rate and parameter groups."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dg_project.config import TrainingParams
from dg_project.data.batches import Batch
from dg_project.methods.base import Learner
from dg_project.training.optimizer import build_optimizer, lr_factor, set_lr


class Two(Learner):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(2, 2), nn.Linear(2, 2)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        return {}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"backbone": list(self.backbone.parameters()), "head": list(self.head.parameters())}


def params(**changes: Any) -> TrainingParams:
    return TrainingParams.model_validate({"max_steps": 60, "warmup_steps": 9, "lr": 0.1, **changes})


def test_warmup() -> None:
    assert [lr_factor(step, params(schedule="constant")) for step in (0, 4, 9, 50)] == [0.1, 0.5, 1.0, 1.0]


def test_cosine_schedule() -> None:
    options = params(schedule="cosine")
    assert lr_factor(9, options) == 1.0
    assert lr_factor(34, options) == pytest.approx(0.5 * (1 + math.cos(math.pi * 25 / 51)))
    assert lr_factor(60, options) == pytest.approx(0)


def test_step_schedule() -> None:
    options = params(schedule="step")
    assert [round(lr_factor(step, options), 6) for step in (29, 30, 39, 40, 59)] == [1, 0.1, 0.1, 0.01, 0.01]


def test_poly_schedule() -> None:
    options = params(schedule="poly", warmup_steps=0)
    assert [lr_factor(step, options) for step in (0, 15, 59)] == pytest.approx([1, 0.75**0.9, (1 / 60) ** 0.9])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_parameter_group_options(optimizer: str) -> None:
    learner = Two()
    chosen = params(optimizer=optimizer, head_lr_factor=10, weight_decay=0.3)
    built = build_optimizer(learner.parameter_groups(), chosen)
    assert set_lr([built], 4, params(schedule="constant")) == pytest.approx(0.05)
    found = {id(weight): (group["lr"], group["weight_decay"]) for group in built.param_groups
             for weight in group["params"]}
    assert found[id(learner.backbone.weight)] == (pytest.approx(0.05), 0.3)
    assert found[id(learner.head.weight)] == (pytest.approx(0.5), 0.3)
    assert found[id(learner.head.bias)] == (pytest.approx(0.5), 0.0)
    assert isinstance(built, torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW)
