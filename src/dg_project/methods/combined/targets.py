"""DRSF with target rows in its batches: the adversaries see them, the task loss and DFDR's losses do not."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from dg_project.data.batches import Batch
from dg_project.methods.drsf.dfdr import Parts
from dg_project.methods.drsf.mdsf import mixing_weights
from dg_project.methods.drsf.method import DRSF
from dg_project.tasks.base import AuxHead, Inputs


class TargetsInTheAdversary(DRSF):
    """DRSF whose batches also hold target rows, under the last domain id.

    Both discriminators see them (the instance-level one at their labelled objects), and the image-level one sees them
    mixed with the other domains. The task loss and DFDR's losses, which compare images of one place, do not.
    """

    @abstractmethod
    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of DRSF on a batch that the target rows have joined."""
        return super().losses(batch, progress)

    def task_rows(self, batch: Batch) -> Tensor:
        """Return the rows (n,) int64 of the task loss: those of DRSF without the target rows."""
        rows = super().task_rows(batch)
        return rows[batch.domain_id[rows] < len(self.domains) - 1]

    def image_mix(self, batch: Batch, pairs: Tensor) -> Tensor:
        """Mix over all domains: every target row joins the mixture of a source image drawn at random.

        The source images differ while there are enough, because a mixture holds one row of a domain.
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
