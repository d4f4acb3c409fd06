"""A training stage: lower loss, bit-equal resume, error on a non-finite loss."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dg_project.core.errors import TrainingError
from dg_project.pretraining.ldm.stage import Stage, learning_rate_factor, step_generator

STEPS = 12


def stage(steps: int = STEPS, stop_at: int | None = None, **changes: object) -> Stage:
    torch.manual_seed(0)
    model, calls = nn.Linear(4, 1), []

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        if stop_at is not None and len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(1)
        x = torch.randn(16, 4, generator=generator)
        return {"loss_fit": (model(x)[:, 0] - x.sum(1)).square().mean(), "log_norm": model.weight.norm()}

    return Stage("fit", model, loss, steps, 0.05, 0, 5, **changes)


def test_loss_falls_and_is_logged(tmp_path: Path) -> None:
    history = stage(200).train(tmp_path)
    assert history.loss_fit.tail(10).mean() < 0.2 * history.loss_fit.head(10).mean()
    assert list(history.columns) == ["step", "loss_fit", "log_norm", "seconds"]
    assert len(pd.read_csv(tmp_path / "fit_losses.csv")) == 200


def test_resume_bit_equal(tmp_path: Path) -> None:
    whole, first = stage(), stage(stop_at=8)
    expected = whole.train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        first.train(tmp_path / "parts")
    second = stage()
    got = second.train(tmp_path / "parts")
    pd.testing.assert_frame_equal(got.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True)
    for a, b in zip(whole.modules.parameters(), second.modules.parameters(), strict=True):
        assert torch.equal(a, b)


def test_finished_stage_is_not_retrained(tmp_path: Path) -> None:
    expected = stage()
    expected.train(tmp_path)
    again = stage(stop_at=0)
    again.train(tmp_path)
    assert torch.equal(expected.modules.weight, again.modules.weight)


def test_checkpoint_callback_sees_average(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    watched = stage(on_checkpoint=lambda step: seen.append(watched.modules.weight.detach().clone()))
    watched.train(tmp_path)
    assert len(seen) == 3
    assert torch.equal(seen[-1], watched.modules.weight)
    assert torch.equal(watched.modules.weight, stage_result(tmp_path / "plain"))


def stage_result(workdir: Path) -> Tensor:
    plain = stage()
    plain.train(workdir)
    return plain.modules.weight


def test_non_finite_loss_error(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    broken = Stage("fit", model, lambda g: {"loss_fit": model.weight.sum() * float("nan")}, 3, 0.1, 0, 1)
    with pytest.raises(TrainingError, match=r"step 0.*loss_fit"):
        broken.train(tmp_path)


def test_learning_rate_factor() -> None:
    factors = [learning_rate_factor(step, 1000) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01, rel=0.01)
    assert max(factors) == pytest.approx(factors[99], rel=0.03)
    assert factors[-1] == pytest.approx(0.02, rel=0.05)


def test_step_generator_differs_by_step() -> None:
    draws = {float(torch.rand((), generator=step_generator(0, name, step))) for name in ("a", "b") for step in range(5)}
    assert len(draws) == 10


def test_autocast_dtype(tmp_path: Path) -> None:
    model, seen = nn.Linear(4, 1), []

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        out = model(torch.randn(2, 4, generator=generator))
        seen.append(out.dtype)
        return {"loss_fit": out.float().square().mean()}

    Stage("fit", model, loss, 1, 0.1, 0, 1, autocast=torch.bfloat16).train(tmp_path)
    assert seen == [torch.bfloat16]
    assert model.weight.dtype == torch.float32
