"""A teacher: the moving average of a student's weights, which labels what has no label."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

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
