"""MIC (Hoyer et al., CVPR 2023): the baseline of unsupervised domain adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from dg_project.config import Params
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.erm import ERM
from dg_project.methods.mic.consistency import ConsistencyParams, MaskedConsistency
from dg_project.tasks.base import TaskModel


class MICParams(ConsistencyParams):
    """Teacher, pseudo labels and masks."""


class MIC(ERM):
    """``L = L_task(source) + lambda_consistency L_task(masked target, teacher's labels)``."""

    name: ClassVar[str] = "mic"
    needs: ClassVar[Needs] = Needs(other_batches=("mixed",), unlabelled_targets=True)
    Params: ClassVar[type[Params]] = MICParams
    training_only: ClassVar[tuple[str, ...]] = ("consistency",)

    def __init__(self, model: TaskModel, params: MICParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.consistency = MaskedConsistency(self.predictor(), params)

    def begin_step(self) -> None:
        """Update the teacher."""
        self.consistency.teacher.update(self.predictor())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task losses on all labelled rows, and ``loss_consistency``."""
        guessed = self.consistency.pseudo_label(self.unlabelled(batch))
        return super().losses(batch, progress) | self.consistency.losses(self.model, guessed)
