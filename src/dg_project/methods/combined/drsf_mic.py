"""DRSF with unlabelled target images: one more domain in the soft fusion, and masked consistency with a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dg_project.config import Params
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.drsf.dfdr import Parts
from dg_project.methods.drsf.mdsf import mixing_weights
from dg_project.methods.drsf.method import DRSF, DRSFParams
from dg_project.methods.mic.consistency import ConsistencyParams, MaskedConsistency
from dg_project.tasks.base import AuxHead, Inputs, TaskModel


class DRSFUDAParams(DRSFParams, ConsistencyParams):
    """Those of DRSF, and those of masked consistency."""


class DRSFUDA(DRSF):
    """``L = L_DRSF(source, pseudo; MDSF over 1 + K + 1 domains) + lambda_consistency L_task(masked target)``.

    The target rows get the teacher's labels and join the batch under the last domain id: both discriminators see them
    (the instance-level one at the teacher's boxes), and the image-level one sees them mixed with the other domains.
    The task loss of the source and the losses of DFDR, which compare images of one place, do not see them.
    """

    name: ClassVar[str] = "drsf_uda"
    needs: ClassVar[Needs] = Needs(batches="paired", unlabelled_targets=True)
    Params: ClassVar[type[Params]] = DRSFUDAParams
    training_only: ClassVar[tuple[str, ...]] = (*DRSF.training_only, "consistency")

    def __init__(self, model: TaskModel, params: DRSFUDAParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.consistency = MaskedConsistency(self.predictor(), params)

    def begin_step(self) -> None:
        """Let the teacher follow."""
        self.consistency.teacher.update(self.predictor())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of DRSF, and ``loss_consistency``."""
        guessed = self.consistency.pseudo_label(self.unlabelled(batch))
        losses = super().losses(batch.joined(guessed), progress) | self.consistency.losses(self.model, guessed)
        if self.dfdr is not None:
            self.dfdr.parts = None  # of the masked images, which no loss asks for
        return losses

    def task_rows(self, batch: Batch) -> Tensor:
        """Return the rows of the task loss: as DRSF's, without the target rows, which only masked images teach."""
        rows = super().task_rows(batch)
        return rows[batch.domain_id[rows] < len(self.domains) - 1]

    def image_mix(self, batch: Batch, pairs: Tensor) -> Tensor:
        """Mix over all domains: every target row takes part in the mixture of a source image drawn at random.

        Each takes another source image while there are enough: a mixture holds one row of a domain.
        """
        adapt = batch.domain_id == len(self.domains) - 1
        places, together = batch.pair_id[~adapt].unique(), batch.pair_id.clone()
        rows = int(adapt.sum())
        drawn = torch.cat([torch.randperm(len(places)) for _ in range(-(-rows // len(places)))])[:rows]
        together[adapt] = places[drawn.to(places.device)]
        return mixing_weights(together, batch.domain_id, self.params.alpha)

    def _dfdr_losses(self, aux: AuxHead, parts: Parts, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:
        rows = torch.where(batch.domain_id < len(self.domains) - 1)[0]
        return super()._dfdr_losses(aux, parts.rows(rows), inputs.rows(rows), batch.rows(rows))
