"""Consistency at the predictions (ours): a pseudo image and its source image have the same answers.

``docs/methods/drsf.md`` has the equation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dg_project.data.batches import Batch, flip_horizontally
from dg_project.data.dataset import ManifestDataset, target_to
from dg_project.data.images import to_float
from dg_project.ops.ema import EMATeacher
from dg_project.ops.modes import evaluating
from dg_project.tasks.answers import Answers, divergence
from dg_project.tasks.base import Features, Inputs, Target, TaskModel, take

Reference = Literal["self", "average", "source"]
RAMP = 0.2
"""Share of the training in which the weight grows from 0 to its value."""


def ramp(progress: float) -> float:
    """Return the factor of the weight: it grows linearly from 0 to 1 in the first fifth of the training."""
    return min(1.0, progress / RAMP)


class Consistency(nn.Module):
    """``L_con = mean w KL(p(x0) ‖ p(x)) + β mean w smoothL1(d(x) − d(x0))`` of a pseudo image x and its source x0.

    The answers on x0 are asked in evaluation mode and get no gradient. They come from the model itself, from an
    exponential average of its weights, or from ``bank``: a model trained on the source alone.

    Attributes:
        bank: answers of the model trained on the source, for the reference ``source``.

    Args:
        student: ``Method.predictor()``; its entry ``model`` is the task model.
        reference: whose answers on the source images count.
        alpha: largest decay of the average.
        beta: weight β of the boxes (and masks).
    """

    def __init__(self, student: nn.ModuleDict, reference: Reference, alpha: float, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.teacher = EMATeacher(student, alpha) if reference == "average" else None
        self.bank: AnswerBank | None = None

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
        shown = {row: origin for row, origin in enumerate(batch.origins or [])
                 if origin is not None and batch.domain_id[row]}
        if not shown:
            return None
        model, index = student["model"], torch.tensor(list(shown), device=batch.weight.device)
        assert isinstance(model, TaskModel)
        if self.bank is None:
            reference = self._answers(student, list(shown.values()), [batch.targets[row] for row in shown])
            return self._distance(model, reference, batch, maps, inputs, index)
        assert batch.flipped is not None
        return torch.stack([
            self._distance(model, self.bank(int(batch.pair_id[row]), batch.flipped[row]), batch, maps, inputs, one)
            for row, one in zip(shown, index.split(1), strict=True)]).mean()

    @torch.no_grad()
    def _answers(self, student: nn.ModuleDict, images: Sequence[Tensor], targets: Sequence[Target]) -> Answers:
        asked = student if self.teacher is None else self.teacher.module
        model = asked["model"]
        assert isinstance(model, TaskModel)
        with evaluating(asked):
            inputs = model.prepare(images, targets)
            return model.answers(model.neck(model.features(inputs.images)), inputs)

    def _distance(self, model: TaskModel, reference: Answers, batch: Batch, maps: Features, inputs: Inputs,
                  index: Tensor) -> Tensor:
        """Return the distance between the answers on these rows and those of the reference."""
        answers = model.answers(take(maps, index), inputs.rows(index), reference.places)
        distances = divergence(reference, answers, batch.weight[index])
        return distances.pop("class") + self.beta * sum(distances.values(), batch.weight.new_zeros(()))


class AnswerBank:
    """Answers of a frozen model on source images, computed at first use and kept.

    They depend on the image and its flip alone, so a resumed training gets the same ones.

    Args:
        model: model trained on the source, in evaluation mode.
        images: source images; the ``pair_id`` of a batch is an index into them.
        device: torch device.
    """

    def __init__(self, model: TaskModel, images: ManifestDataset, device: torch.device) -> None:
        self._model, self._images, self._device = model, images, device
        self._known: dict[tuple[int, bool], Answers] = {}

    @torch.no_grad()
    def __call__(self, index: int, flipped: bool) -> Answers:
        """Return the answers on one source image, with the image index 0."""
        if (index, flipped) not in self._known:
            image, target = self._images[index]
            if flipped:
                image, target = flip_horizontally(image, target)
            inputs = self._model.prepare([to_float(image).to(self._device)], [target_to(target, self._device)])
            with torch.random.fork_rng():
                torch.manual_seed(2 * index + flipped)  # of the proposals that are sampled
                maps = self._model.neck(self._model.features(inputs.images))
                self._known[index, flipped] = self._model.answers(maps, inputs)
        return self._known[index, flipped]
