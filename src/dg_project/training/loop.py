"""The training loop, the same for every method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import pandas as pd
import torch
from tqdm import tqdm

from dg_project.config import TrainingParams
from dg_project.core.device import deterministic, peak_memory_mb, resolve_device, seed_step, use_threads
from dg_project.core.errors import TrainingError
from dg_project.data.batches import BatchStream, Part
from dg_project.methods.base import Learner
from dg_project.methods.model_folder import save_weights
from dg_project.ops.ema import WeightAverage, snapshot
from dg_project.training.checkpoint import Progress
from dg_project.training.distributed import ProcessGroup
from dg_project.training.optimizer import Precision, build_optimizers, set_lr
from dg_project.training.selection import Selection

CHECKPOINT = "last.pt"
VALIDATED = "validated"
"""Folder next to the checkpoint and in a model: the weights of every validation, if they are kept."""
# When a checkpoint is written and on which devices does not change the result.
NOT_SETTINGS = {"checkpoint_every", "device", "threads", "processes"}

L = TypeVar("L", bound=Learner)
OnLog = Callable[[int, dict[str, float]], None]
LISTENERS: list[OnLog] = []
"""Functions that every training of this process calls as it calls ``on_log``; tracking adds its own."""


@dataclass(frozen=True)
class TrainResult:
    """Result of a training, next to the trained learner.

    Attributes:
        history: one row per step: ``step`` (1-based), ``loss`` (the sum), ``loss_*``, ``log_*``, ``lr``, ``seconds``,
            and for validated steps the score under the name of the selection rule.
        best_step: step (1-based) of the selected weights.
        best_score: their validation score, or None with ``selection: last``.
        seconds_per_step: median over the steps, including the wait for the batch.
        peak_memory_mb: see ``core.device.peak_memory_mb``.
    """

    history: pd.DataFrame
    best_step: int
    best_score: float | None
    seconds_per_step: float
    peak_memory_mb: float


def train(learner: L, stream: BatchStream, params: TrainingParams, workdir: Path, *, seed: int = 0,
          validate: Callable[[L], float] | None = None, on_log: OnLog | None = None,
          until: int | None = None) -> TrainResult:
    """Train a learner in place and leave it with the selected weights, in evaluation mode.

    A checkpoint in ``workdir`` is resumed; on the CPU the result is bit-equal to that of an uninterrupted run. A step
    is computed in ``params.accumulate`` micro-batches, which the processes started by accelerate or
    ``distributed.launch`` share. All end with the same weights; the main one validates and writes the checkpoint.

    Args:
        learner: module to train.
        stream: its batches.
        params: steps, optimiser, schedule, selection.
        workdir: folder of the checkpoint, one per training.
        seed: random seed of all steps.
        validate: returns the validation score of the learner, higher is better.
        on_log: called after every step with the step (1-based) and its row of the history, by the main process.
        until: pause after this step (1-based), with a checkpoint and the current weights; the next call continues from
            there, possibly with another stream. None trains to the end.

    Raises:
        TrainingError: a loss is not finite.
        CheckpointError: the checkpoint in ``workdir`` is broken or belongs to another training.
    """
    use_threads(params.threads)
    with deterministic():
        last = min(until or params.max_steps, params.max_steps)
        run = _Run(learner, params, workdir, seed, Selection(params.selection, validate), last)
        run.resume()
        batches = stream.iterate(run.progress.step, last, run.group.shard(params.accumulate))
        quiet = {} if run.group.is_main else {"disable": True}
        steps = tqdm(batches, initial=run.progress.step, total=last, desc="training", unit="step", dynamic_ncols=True,
                     **quiet)
        started = time.perf_counter()
        for step, parts in steps:
            row = run.step(step, parts)
            row["seconds"] = time.perf_counter() - started
            if run.group.is_main:
                run.validate_and_save(step + 1, row)
            started = time.perf_counter()
            steps.set_postfix_str(f"loss {row['loss']:.3f}")
            for listener in [*LISTENERS, *([on_log] if on_log else [])] if run.group.is_main else []:
                listener(step + 1, row)
        return run.finish()


class _Run:
    """One training: the learner, its optimisers, and the progress that a checkpoint stores."""

    def __init__(self, learner: L, params: TrainingParams, workdir: Path, seed: int, selection: Selection[L],
                 last: int) -> None:
        self.group = ProcessGroup(resolve_device(params.device))
        self.device = self.group.device
        self.learner = learner.to(self.device).to(memory_format=torch.channels_last)
        self.params, self.seed, self.selection, self.last = params, seed, selection, last
        self.precision = Precision(params.precision, self.device)
        self.optimizers = build_optimizers(learner, params)
        self.average = WeightAverage(learner, params.ema)
        self.path = workdir / CHECKPOINT
        self.progress = Progress(params.model_dump(mode="json", exclude=NOT_SETTINGS) | {"seed": seed})

    def resume(self) -> None:
        stored = self.group.from_main(Progress.load(self.path, self.progress.settings) if self.group.is_main else None)
        if stored is None:
            self.group.share_weights(self.learner)
            return
        self.progress = stored
        self.learner.load_state_dict(stored.learner)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(stored.optimizers[name])
        self.precision.load(stored.precision)
        if stored.average is not None:
            self.average.state = {name: value.to(self.device) for name, value in stored.average.items()}

    def step(self, step: int, parts: Sequence[Part]) -> dict[str, float]:
        """Take one training step, all its phases, and return its row of the history."""
        lr = set_lr(self.optimizers.values(), step, self.params)
        self.learner.train()
        self.learner.begin_step()
        values = _sum([self._phase(step, number, parts) for number in range(len(self.learner.phases))])
        self.group.mean_statistics(self.learner)
        self.learner.end_step()
        self.average.update(step)
        self.progress.step = step + 1
        row = {"step": float(step + 1), **values, "lr": lr}
        self.progress.history.append(row)
        return row

    def _phase(self, step: int, number: int, parts: Sequence[Part]) -> dict[str, float]:
        """Step the optimisers of one phase with the gradients of its losses; return the losses."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        values = _sum(self.group.gather([self._part(step, number, part) for part in parts]))
        if not math.isfinite(values["loss"]):
            losses = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "loss")
            raise TrainingError(f"step {step + 1}: the loss is not finite ({losses}); lower training.lr, set "
                                "training.grad_clip, or check the images of this step")
        stepped = [self.optimizers[name] for name in self.learner.phases[number].optimizers]
        trained = {id(weight) for one in stepped for group in one.param_groups for weight in group["params"]}
        weights = [weight for weight in self.learner.parameters() if id(weight) in trained]
        self.group.sum_gradients(weights)
        self.precision.step(stepped, weights, self.params.grad_clip)
        return values

    def _part(self, step: int, number: int, part: Part) -> dict[str, float]:
        """Add a micro-batch's share of the gradients of a phase, and return its share of the losses."""
        seed_step(self.seed, step, part.number, number)
        phase, progress = self.learner.phases[number].name, step / self.params.max_steps
        with self.precision.autocast():
            losses = self.learner.phase_losses(phase, part.batch.to(self.device), progress)
        taught = [value.float() for name, value in losses.items() if name.startswith("loss_")]
        if not taught:  # no row of this part has a loss
            return {"loss": 0.0}
        total = torch.stack(taught).sum()
        self.precision.backward(part.share * total)
        values = torch.stack([total.detach(), *(value.detach().to(total) for value in losses.values())]).tolist()
        return {name: part.share * value for name, value in zip(["loss", *losses], values, strict=True)}

    def validate_and_save(self, done: int, row: dict[str, float]) -> None:
        """Validate and write the checkpoint if they are due after this step."""
        if done == self.params.max_steps or done % self.params.validate_every == 0:
            with self.average.applied():
                self._select(done, row)
        if done == self.last or done % self.params.checkpoint_every == 0:
            self.progress.learner = self.learner.state_dict()
            self.progress.optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
            self.progress.precision = self.precision.state()
            self.progress.average = self.average.state
            self.progress.save(self.path)

    def _select(self, done: int, row: dict[str, float]) -> None:
        score = self.selection.score(self.learner)
        if score is None:
            return
        row[self.selection.name] = score
        if self.params.keep_validated:
            save_weights(self.learner.inference_state(), self.path.parent / VALIDATED / f"step{done:07d}.safetensors")
        may = self.learner.selectable(done / self.params.max_steps)
        if may and self.selection.better(score, self.progress.best_score):
            self.progress.best_step, self.progress.best_score = done, score
            self.progress.best = snapshot(self.learner)

    def finish(self) -> TrainResult:
        """Load the selected weights into the learner; a pause keeps the current ones."""
        paused = self.progress.step < self.params.max_steps
        chosen = self.average.state if paused else self.progress.best or self.average.state
        if chosen is not None:
            self.learner.load_state_dict(chosen)
        self.group.share_weights(self.learner)
        self.learner.eval()
        history = pd.DataFrame(self.progress.history).astype({"step": int})
        return self.group.from_main(
            TrainResult(history, self.progress.best_step or self.progress.step, self.progress.best_score,
                        median(history["seconds"]), peak_memory_mb(self.device)))


def _sum(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Sum the values of each name."""
    total: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            total[name] = total.get(name, 0.0) + value
    return total
