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
from dg_project.methods.combined.targets import TargetsInTheAdversary
from dg_project.methods.diga.class_mix import crossdomix_views
from dg_project.methods.diga.distillation import SymmetricDistillation
from dg_project.methods.diga.self_training import DiGAParams, SelfTraining, SelfTrains
from dg_project.methods.drsf.method import DRSF, DRSFParams
from dg_project.tasks.base import TaskModel
from dg_project.tasks.segmentation import IGNORE, Segmenter, input_masks


class DRSFDiGAParams(DRSFParams, DiGAParams):
    """Parameters of DRSF and of DiGA."""


class DRSFDiGA(SelfTrains, TargetsInTheAdversary):
    """``L = L_DRSF(source, pseudo; MDSF over 1 + K + 1 domains) + lambda_skd L_SKD + lambda_mix CE(mix)``.

    The target rows join the batch without labels, so only the image discriminator sees them. The task learns from them
    through DiGA's self-training.
    """

    name: ClassVar[str] = "drsf_diga"
    needs: ClassVar[Needs] = Needs(batches="halves", unlabelled_targets=True)
    tasks: ClassVar[tuple[Task, ...]] = ("segmentation",)
    Params: ClassVar[type[Params]] = DRSFDiGAParams
    training_only: ClassVar[tuple[str, ...]] = (*DRSF.training_only, "distillation", "self_training")
    model: Segmenter

    def __init__(self, model: TaskModel, params: DRSFDiGAParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.adaptation: DiGAParams = params
        self.distillation = SymmetricDistillation(self.predictor(), params.teacher_alpha)
        self.self_training = SelfTraining(self.predictor(), params.self_training)

    def begin_step(self) -> None:
        """Update the teacher."""
        self.distillation.teacher.update(self.predictor())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of DRSF and ``loss_skd``, and after the warm-up ``loss_mix``."""
        adapt = self.unlabelled(batch)
        adapting = self.self_training.starts(self.predictor(), self.distillation, progress)
        own = self.adaptation.self_training if adapting else self.adaptation
        losses = super().losses(batch.joined(without_labels(adapt)), progress)
        rows = batch.rows(batch.domain_id == 0)
        source = self.model.prepare(rows.images, rows.targets)
        views = crossdomix_views(self.model, batch, source, own.beta)
        losses["loss_skd"] = own.lambda_skd * self.distillation(self.model, source.images, views)[1]
        if adapting:
            labelled = source.images, input_masks(source)
            losses |= self.self_training.losses(self.model, self.distillation.model, labelled, adapt)
        return losses


def without_labels(batch: Batch) -> Batch:
    """Return unlabelled images with masks in which every pixel is ignored."""
    blank = [image.new_full(image.shape[-2:], IGNORE, dtype=torch.uint8) for image in batch.images]
    return replace(batch, targets=[{**target, "mask": mask}
                                   for target, mask in zip(batch.targets, blank, strict=True)])
