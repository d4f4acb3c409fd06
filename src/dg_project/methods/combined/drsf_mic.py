"""DRSF with unlabelled target images as one more domain of the soft fusion, and masked consistency (MIC)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from dg_project.config import Params
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.combined.targets import TargetsInTheAdversary
from dg_project.methods.drsf.method import DRSF, DRSFParams
from dg_project.methods.mic.consistency import ConsistencyParams, MaskedConsistency
from dg_project.tasks.base import TaskModel


class DRSFUDAParams(DRSFParams, ConsistencyParams):
    """Parameters of DRSF and of masked consistency."""


class DRSFUDA(TargetsInTheAdversary):
    """``L = L_DRSF(source, pseudo; MDSF over 1 + K + 1 domains) + lambda_consistency L_task(masked target)``.

    The target rows join the batch with the teacher's labels, so the instance-level discriminator sees the teacher's
    boxes. The task learns from them through masked images only.
    """

    name: ClassVar[str] = "drsf_uda"
    needs: ClassVar[Needs] = Needs(batches="paired", unlabelled_targets=True)
    Params: ClassVar[type[Params]] = DRSFUDAParams
    training_only: ClassVar[tuple[str, ...]] = (*DRSF.training_only, "consistency")

    def __init__(self, model: TaskModel, params: DRSFUDAParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.consistency = MaskedConsistency(self.predictor(), params)

    def begin_step(self) -> None:
        """Update the teacher."""
        self.consistency.teacher.update(self.predictor())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of DRSF, and ``loss_consistency``."""
        guessed = self.consistency.pseudo_label(self.unlabelled(batch))
        return super().losses(batch.joined(guessed), progress) | self.consistency.losses(self.model, guessed)
