"""Averages of a module's weights: the weights that predict, and the EMA teacher of self-training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
M = TypeVar("M", bound=nn.Module)


def snapshot(module: nn.Module) -> State:
    """Return a copy of a module's state."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def update_average(average: Tensor, value: Tensor, keep: float) -> None:
    """Update in place ``avg <- keep avg + (1 - keep) value``; integers are copied."""
    if value.is_floating_point():
        average.lerp_(value, 1 - keep)
    else:
        average.copy_(value)


class WeightAverage:
    """The weights that predict: the current weights or their average.

    Args:
        module: module being trained; if its ``average_from`` is set, the average is plain from that step on.
        decay: share of the old average that a step keeps; None predicts with the current weights.
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self.module, self.decay = module, decay
        self.first: int | None = getattr(module, "average_from", None)
        self.state: State | None = None if decay is None and self.first is None else snapshot(module)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after step t (0-based): ``avg <- d avg + (1 - d) weights``.

        Exponential: ``d = min(decay, (1 + t) / (10 + t))``; the smaller decay of the first steps lets the average
        forget the initial weights. Plain from step f on: ``d = n / (n + 1)`` with ``n = t - f`` earlier weights;
        before step f, ``d = 0``.
        """
        if self.state is None:
            return
        decay = self._decay_at(step)
        for name, value in self.module.state_dict().items():
            update_average(self.state[name], value, decay)

    def _decay_at(self, step: int) -> float:
        if self.first is not None:
            before = max(0, step - self.first)
            return before / (before + 1)
        return 0.0 if self.decay is None else min(self.decay, (1 + step) / (10 + step))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Load the weights that predict into the module for the duration of the block."""
        if self.state is None:
            yield
            return
        current = snapshot(self.module)
        self.module.load_state_dict(self.state)
        try:
            yield
        finally:
            self.module.load_state_dict(current)


class EMATeacher(nn.Module, Generic[M]):
    """Exponential moving average of a student's weights, without gradient.

    As a submodule of a method it is saved in the checkpoint, so a resumed training continues with the same teacher;
    listed in ``training_only`` it is not part of the model that predicts. The caller sets its mode: that of the method,
    or evaluation.

    Args:
        student: module to copy. It must contain everything its forward pass uses: modules at taps belong to the method,
            not to the backbone, so a method's teacher copies ``Method.predictor()``.
        alpha: largest share of the old teacher that an update keeps.

    Attributes:
        module: the teacher's own copy.
        updates: number of updates so far.
    """

    updates: Tensor

    def __init__(self, student: M, alpha: float) -> None:
        super().__init__()
        self.module: M = copy.deepcopy(student).requires_grad_(False)
        self.alpha = alpha
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, student: M) -> None:
        """Add the student of step i (0-based), before its forward pass: ``T <- a T + (1 - a) S``.

        Call it in ``Learner.begin_step``: once per step, however many micro-batches and processes share it.

        ``a = min(1 - 1 / (i + 1), alpha)``: the first teacher is the student itself, the next ones are plain means.
        Buffers (statistics of batch normalisation) are copied from the student.
        """
        keep = min(1 - 1 / (int(self.updates) + 1), self.alpha)
        for average, weight in zip(self.module.parameters(), student.parameters(), strict=True):
            update_average(average, weight, keep)
        for buffer, new in zip(self.module.buffers(), student.buffers(), strict=True):
            buffer.copy_(new)
        self.updates += 1
