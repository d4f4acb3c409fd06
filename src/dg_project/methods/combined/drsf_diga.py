"""DRSF with DiGA's adaptation: targets in the soft fusion, symmetric distillation, self-training by consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from dg_project.config import Params, Task
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.combined.drsf_mic import DRSFUDA
from dg_project.methods.diga.class_mix import crossdomix_views
from dg_project.methods.diga.distillation import SymmetricDistillation
from dg_project.methods.diga.self_training import DiGAParams, SelfTraining, SelfTrains
from dg_project.methods.drsf.dfdr import DFDR
from dg_project.methods.drsf.method import DRSF, DRSFParams
from dg_project.tasks.base import TaskModel
from dg_project.tasks.segmentation import IGNORE, Segmenter, input_masks


class DRSFDiGAParams(DRSFParams, DiGAParams):
    """Those of DRSF, and those of DiGA."""


class DRSFDiGA(SelfTrains, DRSFUDA):
    """``L = L_DRSF(source, pseudo; MDSF over 1 + K + 1 domains) + lambda_skd L_SKD + lambda_mix CE(mix)``.

    The target rows join the batch under the last domain id and without labels: the image discriminator sees them, as in
    ``drsf_uda``, and what is learnt from their content comes from DiGA's self-training in place of masked consistency.
    """

    name: ClassVar[str] = "drsf_diga"
    needs: ClassVar[Needs] = Needs(batches="halves", unlabelled_targets=True)
    tasks: ClassVar[tuple[Task, ...]] = ("segmentation",)
    Params: ClassVar[type[Params]] = DRSFDiGAParams
    training_only: ClassVar[tuple[str, ...]] = (*DRSF.training_only, "distillation", "self_training")
    model: Segmenter

    def __init__(self, model: TaskModel, params: DRSFDiGAParams, domains: Sequence[str]) -> None:
        DRSF.__init__(self, model, params, domains)  # DRSFUDA adds masked consistency, which is not wanted here
        self.adaptation: DiGAParams = params
        self.distillation = SymmetricDistillation(self.predictor(), params.teacher_alpha)
        self.self_training = SelfTraining(self.predictor(), params.self_training)

    def begin_step(self) -> None:
        """Let the teacher follow."""
        self.distillation.teacher.update(self.predictor())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of DRSF, ``loss_skd``, and after the warm-up ``loss_mix``."""
        adapt = self.unlabelled(batch)
        adapting = self.self_training.begins(self.predictor(), self.distillation, progress)
        own = self.adaptation.self_training if adapting else self.adaptation
        losses = DRSF.losses(self, batch.joined(without_labels(adapt)), progress)
        rows = batch.rows(batch.domain_id == 0)
        source = self.model.prepare(rows.images, rows.targets)
        views = crossdomix_views(self.model, batch, source, own.beta)
        losses["loss_skd"] = own.lambda_skd * self.distillation(self.model, source.images, views)[1]
        if adapting:
            labelled = source.images, input_masks(source)
            losses |= self.self_training.losses(self.model, self.distillation.model, labelled, adapt)
        for part in (*self.children(), *self.distillation.teacher.module.children()):
            if isinstance(part, DFDR):
                part.parts = None  # of views, which no loss asks for
        return losses


def without_labels(batch: Batch) -> Batch:
    """Return unlabelled images with masks of which every pixel is ignored."""
    blank = [image.new_full(image.shape[-2:], IGNORE, dtype=torch.uint8) for image in batch.images]
    return replace(batch, targets=[{**target, "mask": mask}
                                   for target, mask in zip(batch.targets, blank, strict=True)])
