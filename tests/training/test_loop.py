"""The training loop on a small learner: resume, selection, averages, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dg_project.config import TrainingParams
from dg_project.core.device import peak_memory_mb, resolve_device
from dg_project.core.errors import CheckpointError, ParameterError, TrainingError
from dg_project.data.batches import Batch, Deal, Part
from dg_project.methods.base import Learner
from dg_project.training.loop import CHECKPOINT, TrainResult, train

KILLED_AT = 7


class Regression(Learner):
    """A linear model with dropout (random numbers) and batch normalisation (buffers)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 4)
        self.head = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        x = torch.stack([image.mean((1, 2)) for image in batch.images])
        loss = (self.head(self.backbone(x)) - x.sum(1, keepdim=True)).square().mean()
        size = 1e-3 * self.backbone.weight.square().sum()
        return {"loss_line": loss, "loss_size": size, "log_progress": torch.tensor(progress)}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"backbone": list(self.backbone.parameters()), "head": list(self.head.parameters())}


class Stream:
    """Batches as a function of the step."""

    def __init__(self, broken_at: int | None = None) -> None:
        self.broken_at = broken_at

    def iterate(self, first: int, last: int, deal: Deal) -> Iterator[tuple[int, list[Part]]]:
        for step in range(first, last):
            images = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(step))
            if step == self.broken_at:
                images[0] = torch.nan
            pairs = torch.tensor([0, 0, 0, 1, 2, 3, 3, 4])
            batch = Batch(list(images), [{}] * 8, torch.zeros(8, dtype=torch.long), pairs, torch.ones(8))
            yield step, [Part(number, len(rows) / 8, batch.rows(torch.tensor(rows)))
                         for number, rows in deal.mine(pairs.tolist(), [True] * len(pairs))]


def params(**changes: Any) -> TrainingParams:
    return TrainingParams.model_validate({"max_steps": 12, "lr": 0.05, "warmup_steps": 2, "checkpoint_every": 3,
                                          "validate_every": 4, "selection": "last", "device": "cpu", **changes})


def run(workdir: Path, options: TrainingParams, *, stream: Stream | None = None,
        **more: Any) -> tuple[Regression, TrainResult]:
    torch.manual_seed(0)
    learner = Regression()
    return learner, train(learner, stream or Stream(), options, workdir, seed=5, **more)  # type: ignore[arg-type]


def interrupt(step: int, row: dict[str, float]) -> None:
    if step == KILLED_AT:
        raise KeyboardInterrupt


def assert_same(first: nn.Module, second: nn.Module) -> None:
    for (name, left), right in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(left, right), name


def weight_score(learner: Regression) -> float:
    return -abs(learner.backbone.weight.sum().item())


def scripted(*scores: float) -> Callable[[Regression], float]:
    remaining = iter(scores)
    return lambda learner: next(remaining)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("selection", ["last", "source_val"])
def test_stop_and_resume_is_bit_equal(tmp_path: Path, optimizer: str, ema: float | None, selection: str) -> None:
    options = params(optimizer=optimizer, ema=ema, selection=selection)
    whole, expected = run(tmp_path / "whole", options, validate=weight_score)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", options, validate=weight_score, on_log=interrupt)
    torch.rand(5), np.random.rand(5)  # another process would have other generators
    resumed_at: list[int] = []
    resumed, result = run(tmp_path / "cut", options, validate=weight_score,
                          on_log=lambda step, row: resumed_at.append(step))
    assert resumed_at[0] == 7, "six steps were stored by the last checkpoint"
    assert_same(whole, resumed)
    assert (result.best_step, result.best_score) == (expected.best_step, expected.best_score)
    pd.testing.assert_frame_equal(result.history.drop(columns="seconds"), expected.history.drop(columns="seconds"))


def test_pause_and_continue(tmp_path: Path) -> None:
    options = params(selection="source_val", validate_every=2)
    whole, _ = run(tmp_path / "whole", options, validate=weight_score)
    paused, before = run(tmp_path / "parts", options, validate=lambda learner: -1.0, until=5)
    assert len(before.history) == 5
    present = torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)["learner"]
    assert all(torch.equal(value, present[name]) for name, value in paused.state_dict().items())
    (tmp_path / "parts" / CHECKPOINT).unlink()
    run(tmp_path / "parts", options, validate=weight_score, until=5)
    resumed, _ = run(tmp_path / "parts", options, validate=weight_score)
    assert_same(whole, resumed)


def test_finished_training_not_repeated(tmp_path: Path) -> None:
    first, expected = run(tmp_path, params())
    again, result = run(tmp_path, params(), stream=Stream(broken_at=0))
    assert_same(first, again)
    pd.testing.assert_frame_equal(result.history, expected.history)


def test_best_weights_survive_interruption(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def keep(learner: Regression) -> float:
        seen.append(learner.backbone.weight.detach().clone())
        return {1: 0.9, 2: 0.4, 3: 0.9}[len(seen)]

    options = params(selection="source_val")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, options, validate=keep, on_log=interrupt)
    learner, result = run(tmp_path, options, validate=scripted(0.4, 0.9))
    assert (result.best_step, result.best_score) == (4, 0.9), "of equal scores the earlier stays"
    assert torch.equal(learner.backbone.weight, seen[0])
    assert not learner.training
    assert result.history["source_val"].dropna().tolist() == [0.9, 0.4, 0.9]


def test_average_predicts(tmp_path: Path) -> None:
    trail: list[Tensor] = []

    class Watched(Regression):
        def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
            trail.append(self.backbone.weight.detach().clone())
            return super().losses(batch, progress)

    torch.manual_seed(0)
    learner = Watched()
    train(learner, Stream(), params(ema=0.5, max_steps=6), tmp_path, seed=5)  # type: ignore[arg-type]
    plain, _ = run(tmp_path / "plain", params(max_steps=6))
    average = trail[0]
    for step, weight in enumerate([*trail[1:], plain.backbone.weight.detach()]):
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(learner.backbone.weight.detach(), average)


def test_history_rows(tmp_path: Path) -> None:
    _, result = run(tmp_path, params())
    history = result.history
    assert history["step"].tolist() == list(range(1, 13))
    np.testing.assert_allclose(history["loss"], history["loss_line"] + history["loss_size"], rtol=1e-6)
    np.testing.assert_allclose(history["log_progress"], np.arange(12) / 12, rtol=1e-6)
    assert history["loss"].iloc[-3:].mean() < history["loss"].iloc[:3].mean()
    assert result.seconds_per_step > 0
    assert result.peak_memory_mb > 10
    assert result.best_step == 12


def test_seed_changes_result(tmp_path: Path) -> None:
    first, _ = run(tmp_path / "a", params())
    second, _ = run(tmp_path / "b", params())
    assert_same(first, second)
    torch.manual_seed(0)
    other = Regression()
    train(other, Stream(), params(), tmp_path / "c", seed=6)  # type: ignore[arg-type]
    assert not torch.equal(first.backbone.weight, other.backbone.weight)


def test_non_finite_loss(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"step 4: the loss is not finite \(loss_line nan, loss_size 0\.\d+"):
        run(tmp_path, params(), stream=Stream(broken_at=3))


def test_checkpoint_refused(tmp_path: Path) -> None:
    run(tmp_path, params())
    with pytest.raises(CheckpointError, match=r"other settings \(lr\)"):
        run(tmp_path, params(lr=0.01))
    run(tmp_path, params(checkpoint_every=7, threads=1))
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="not a readable training checkpoint"):
        run(tmp_path, params())


class Line(Regression):
    """A loss that is a mean over images, without random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(4, 1))


def fit(workdir: Path, **changes: Any) -> tuple[Line, TrainResult]:
    torch.manual_seed(0)
    learner = Line()
    return learner, train(learner, Stream(), params(**changes), workdir, seed=5)  # type: ignore[arg-type]


def test_micro_batches_equal_full_batch(tmp_path: Path) -> None:
    whole, expected = fit(tmp_path / "whole", images_per_step=8)
    for parts in (2, 4, 8):
        cut, result = fit(tmp_path / str(parts), images_per_step=8, accumulate=parts)
        for left, right in zip(whole.parameters(), cut.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)
        pd.testing.assert_frame_equal(result.history.drop(columns="seconds"), expected.history.drop(columns="seconds"),
                                      rtol=1e-4)


def test_bfloat16(tmp_path: Path) -> None:
    formats = set()

    class Watched(Line):
        def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
            formats.add(self.backbone(torch.ones(1, 3)).dtype)
            return super().losses(batch, progress)

    _, expected = fit(tmp_path / "long")
    torch.manual_seed(0)
    short = Watched()
    result = train(short, Stream(), params(precision="bfloat16"), tmp_path, seed=5)  # type: ignore[arg-type]
    assert formats == {torch.bfloat16}
    assert {weight.dtype for weight in short.parameters()} == {torch.float32}
    difference = result.history["loss"] - expected.history["loss"]
    assert 0 < difference.abs().max() < 0.02 * expected.history["loss"].max()
    with pytest.raises(ParameterError, match="float16 needs an accelerator"):
        fit(tmp_path / "cpu", precision="float16")


@pytest.mark.parametrize(("changes", "message"), [
    ({"accumulate": 9, "images_per_step": 8}, "more micro-batches than images"),
    ({"accumulate": 3, "processes": 2}, "set accumulate to 2 or a multiple"),
])
def test_params_refuse_micro_batches(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        params(**changes)


def test_selection_needs_score(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="source_val needs a validation split"):
        run(tmp_path, params(selection="source_val"))
    with pytest.raises(TrainingError, match="not a number"):
        run(tmp_path, params(selection="source_val"), validate=lambda learner: float("nan"))


def test_deterministic_setting_is_restored(tmp_path: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    run(tmp_path, params(max_steps=1))
    assert not torch.are_deterministic_algorithms_enabled()


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ParameterError, match="is no device"):
        resolve_device("gpu")
    with pytest.raises(ParameterError, match="not on this machine"):
        resolve_device("cuda:99")
    assert peak_memory_mb(torch.device("cpu")) > 10


class Late(Regression):
    """A learner that is selectable only after half of the training."""

    def selectable(self, progress: float) -> bool:
        return progress > 0.5


def test_keep_validated(tmp_path: Path) -> None:
    options = params(selection="source_val", keep_validated=True)
    learner, result = run(tmp_path, options, validate=lambda _: 1.0)  # the first of equals is chosen
    kept = sorted((tmp_path / "validated").iterdir())
    assert [path.name for path in kept] == ["step0000004.safetensors", "step0000008.safetensors",
                                            "step0000012.safetensors"]
    assert result.best_step == 4
    chosen = load_file(kept[0])
    assert all(torch.equal(chosen[name], value) for name, value in learner.state_dict().items())
    run(tmp_path / "other", params(selection="source_val"), validate=lambda _: 1.0)
    assert not (tmp_path / "other" / "validated").exists()


def test_selectable(tmp_path: Path) -> None:
    scores = iter([0.9, 0.8, 0.2, 0.4, 0.3, 0.1])
    learner = Late()
    result = train(learner, Stream(), params(validate_every=2, selection="source_val"), tmp_path,  # type: ignore[arg-type]
                   seed=5, validate=lambda _: next(scores))
    assert (result.best_step, result.best_score) == (8, 0.4)
    assert result.history["source_val"].dropna().tolist() == [0.9, 0.8, 0.2, 0.4, 0.3, 0.1]
