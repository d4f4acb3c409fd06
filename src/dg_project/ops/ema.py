"""The average of the weights that predicts: an exponential one, or a plain one from some step on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def snapshot(module: nn.Module) -> State:
    """Return a copy of a module's state."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


class Average:
    """The weights that predict: the present ones, or their average.

    Args:
        module: the module that is trained; its ``average_from``, where it has one, asks for the plain average.
        decay: share of the old average that a step keeps; None predicts with the present weights.
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self.module, self.decay = module, decay
        self.first: int | None = getattr(module, "average_from", None)
        self.state: State | None = None if decay is None and self.first is None else snapshot(module)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step t (0-based): ``avg <- d avg + (1 - d) weights``.

        Exponential: ``d = min(decay, (1 + t) / (10 + t))``; the smaller decay of the first steps lets the average
        forget the initial weights. Plain from step f on: ``d = n / (n + 1)`` with ``n = t - f`` weights before; until
        then ``d = 0``.
        """
        if self.state is None:
            return
        decay = self._kept(step)
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    def _kept(self, step: int) -> float:
        if self.first is not None:
            before = max(0, step - self.first)
            return before / (before + 1)
        return 0.0 if self.decay is None else min(self.decay, (1 + step) / (10 + step))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the weights that predict, for the length of a block."""
        if self.state is None:
            yield
            return
        present = snapshot(self.module)
        self.module.load_state_dict(self.state)
        try:
            yield
        finally:
            self.module.load_state_dict(present)


M = TypeVar("M", bound=nn.Module)


class Teacher(nn.Module, Generic[M]):
    """An average of the weights of a module that trains; it has no gradient and never trains itself.

    As a submodule of a method it is part of the checkpoint, so a resumed training goes on with the same teacher; as a
    name in ``training_only`` it is no part of the model that predicts. Its mode is the caller's choice: that of the
    method, or evaluation.

    Args:
        student: what is copied. Whatever its forward pass uses must be in it: modules at taps belong to the method and
            not to the backbone, so a method's teacher copies ``Method.predictor()``.
        alpha: the largest share of the old teacher that an update keeps.

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
        """Take in the student of step i (0-based), before its forward pass: ``T <- a T + (1 - a) S``.

        Its place is ``Learner.begin_step``: once a step, however many micro-batches and processes share it.

        ``a = min(1 - 1 / (i + 1), alpha)``: the first teacher is the student itself, those of the next steps are plain
        means. Buffers (statistics of batch normalisation) are the student's.
        """
        keep = min(1 - 1 / (int(self.updates) + 1), self.alpha)
        for mine, theirs in zip(self.module.parameters(), student.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)
        for own, new in zip(self.module.buffers(), student.buffers(), strict=True):
            own.copy_(new)
        self.updates += 1
