"""DivAlign (Danish et al., CVPR 2024, arXiv 2405.14497): two views of an image get the same detections."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dg_project.config import Params
from dg_project.data.batches import Batch
from dg_project.methods.base import Method, Needs
from dg_project.tasks.answers import divergence
from dg_project.tasks.base import Features, Inputs, take


class DivAlignParams(Params):
    """Weights of the alignment; the defaults are those of the released configuration."""

    alpha: float = Field(1.0, ge=0, description="weight of L_cal, the distance of the class probabilities")
    beta: float = Field(1.0, ge=0, description="weight of L_ral, the distance of the boxes (and of the masks)")


class DivAlign(Method):
    """``L = L_task(both views) + α L_cal + β L_ral``.

    ``L_cal = mean_R KL(p(x') ‖ p(x))`` over the sampled proposals of the source view x, and ``L_ral`` the mean smooth
    L1 distance of the class-specific deltas on those of them that lie on objects, both with gradient to both views. The
    second view is a pseudo image here; the paper augments x.
    """

    name: ClassVar[str] = "divalign"
    needs: ClassVar[Needs] = Needs(batches="halves")
    Params: ClassVar[type[Params]] = DivAlignParams
    params: DivAlignParams

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task's losses on all rows, ``loss_cal`` and ``loss_ral``."""
        inputs = self.model.prepare(batch.images, batch.targets)
        maps = self.model.neck(self.model.features(inputs.images))
        losses = self.model.losses(maps, inputs, batch.weight)
        source, view = views(batch.pair_id, batch.domain_id)
        return losses | self._alignment(maps, inputs, source, view, batch.weight[view]) if len(view) else losses

    def _alignment(self, maps: Features, inputs: Inputs, source: Tensor, view: Tensor,
                   weight: Tensor) -> dict[str, Tensor]:
        of_source = self.model.answers(take(maps, source), inputs.rows(source))
        of_view = self.model.answers(take(maps, view), inputs.rows(view), of_source.places)
        distances = divergence(of_view, of_source, weight)
        found = {"loss_cal": self.params.alpha * distances.pop("class")}
        if distances:
            found["loss_ral"] = self.params.beta * torch.stack(list(distances.values())).sum()
        return found


def views(pair_id: Tensor, domain_id: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of the source images and of the pseudo images made from them, pair by pair, as int64 (P,).

    Args:
        pair_id: ``(B,)``, equal for rows that come from one source image.
        domain_id: ``(B,)``, 0 is the source.
    """
    same = (pair_id[:, None] == pair_id) & (domain_id[:, None] == 0) & (domain_id != 0)
    source, view = same.nonzero(as_tuple=True)
    return source, view
