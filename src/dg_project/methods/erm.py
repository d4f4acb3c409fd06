"""Empirical risk minimisation on the source: the baseline of every comparison."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dg_project.config import Params
from dg_project.data.batches import Batch
from dg_project.methods.base import ANY_BATCHES, Method, Needs


class ERMParams(Params):
    """ERM has no parameters."""


class ERM(Method):
    """``L = L_task`` on all rows, weighted by image."""

    name: ClassVar[str] = "erm"
    needs: ClassVar[Needs] = Needs(other_batches=ANY_BATCHES)
    Params: ClassVar[type[Params]] = ERMParams

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task's losses on all rows."""
        inputs = self.model.prepare(batch.images, batch.targets)
        return self.model.losses(self.model.neck(self.model.features(inputs.images)), inputs, batch.weight)


class Naive(ERM):
    """``L = L_task`` on source images and kept pseudo images with their labels (naive mixing)."""

    name: ClassVar[str] = "naive"
    needs: ClassVar[Needs] = Needs(batches="mixed")
