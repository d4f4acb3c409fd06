"""Consistency at the predictions (ours): a pseudo image and its source image have the same answers.

``docs/methods/drsf.md`` has the equation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dg_project.data.batches import Batch
from dg_project.ops.ema import EMATeacher
from dg_project.ops.modes import evaluating
from dg_project.tasks.answers import Answers, divergence
from dg_project.tasks.base import Features, Inputs, Target, TaskModel, take

Reference = Literal["self", "average"]
RAMP = 0.2
"""Share of the training in which the weight grows from 0 to its value."""


def ramp(progress: float) -> float:
    """Return the factor of the weight: it grows linearly from 0 to 1 in the first fifth of the training."""
    return min(1.0, progress / RAMP)


class Consistency(nn.Module):
    """``L_con = mean w KL(p(x0) ‖ p(x)) + mean w smoothL1(d(x) − d(x0))`` of a pseudo image x and its source image x0.

    The answers on x0 are asked in evaluation mode and get no gradient. They come from the model itself, or from an
    exponential average of its weights.

    Args:
        student: ``Method.predictor()``; its entry ``model`` is the task model.
        reference: whose answers on the source images count.
        alpha: largest decay of the average.
    """

    def __init__(self, student: nn.ModuleDict, reference: Reference, alpha: float) -> None:
        super().__init__()
        self.teacher = EMATeacher(student, alpha) if reference == "average" else None

    def update(self, student: nn.ModuleDict) -> None:
        """Add the student's weights to the average."""
        if self.teacher is not None:
            self.teacher.update(student)

    def loss(self, student: nn.ModuleDict, batch: Batch, maps: Features, inputs: Inputs) -> Tensor | None:
        """Return ``L_con`` of the rows that come with their source image; None if there is none.

        Args:
            student: see the class.
            batch: batch with ``origins``.
            maps: from the student's ``neck``, of all rows.
            inputs: prepared rows.
        """
        rows = [row for row, origin in enumerate(batch.origins or []) if origin is not None]
        if not rows:
            return None
        index = torch.tensor(rows, device=batch.weight.device)
        origins = [origin for origin in batch.origins or [] if origin is not None]
        reference = self._answers(student, origins, [batch.targets[row] for row in rows])
        model = student["model"]
        assert isinstance(model, TaskModel)
        answers = model.answers(take(maps, index), inputs.rows(index), reference.places)
        return torch.stack(list(divergence(reference, answers, batch.weight[index]).values())).sum()

    @torch.no_grad()
    def _answers(self, student: nn.ModuleDict, images: Sequence[Tensor], targets: Sequence[Target]) -> Answers:
        asked = student if self.teacher is None else self.teacher.module
        model = asked["model"]
        assert isinstance(model, TaskModel)
        with evaluating(asked):
            inputs = model.prepare(images, targets)
            return model.answers(model.neck(model.features(inputs.images)), inputs)
