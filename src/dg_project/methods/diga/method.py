"""DiGA (Shen et al., CVPR 2023): distil to generalise, then adapt with bilateral-consensus pseudo labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from dg_project.config import Params, Task
from dg_project.data.batches import Batch
from dg_project.methods.base import Method, Needs
from dg_project.methods.diga.class_mix import crossdomix_views, strong_views
from dg_project.methods.diga.distillation import DistillationParams, SymmetricDistillation
from dg_project.methods.diga.self_training import DiGAParams, SelfTraining, SelfTrains
from dg_project.tasks.base import Inputs, TaskModel
from dg_project.tasks.segmentation import Segmenter, input_masks, pixel_loss


class DiGAWarmUp(Method):
    """``L = CE(S(x), y) + lambda_skd (CE(T(x), S(v)) + 0.5 CE(T(v), S(x)))``: source images x, their strong views v."""

    name: ClassVar[str] = "diga_warmup"
    needs: ClassVar[Needs] = Needs()
    tasks: ClassVar[tuple[Task, ...]] = ("segmentation",)
    Params: ClassVar[type[Params]] = DistillationParams
    training_only: ClassVar[tuple[str, ...]] = ("distillation",)
    model: Segmenter
    params: DistillationParams

    def __init__(self, model: TaskModel, params: DistillationParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.distillation = SymmetricDistillation(self.predictor(), params.teacher_alpha)

    def begin_step(self) -> None:
        """Update the teacher."""
        self.distillation.teacher.update(self.predictor())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return ``loss_segmentation`` on the source images, and the weighted ``loss_skd``."""
        return self.distil(batch, self.source(batch), self.params.beta, self.params.lambda_skd)

    def source(self, batch: Batch) -> Inputs:
        """Return the source images of a batch as network input."""
        rows = batch.rows(batch.domain_id == 0)
        return self.model.prepare(rows.images, rows.targets)

    def distil(self, batch: Batch, source: Inputs, beta: float, weight: float) -> dict[str, Tensor]:
        """Return the losses of the warm-up: ``beta`` is the strength of the views, ``weight`` that of ``loss_skd``."""
        seen, loss = self.distillation(self.model, source.images, self.views(batch, source, beta))
        supervised = pixel_loss(seen, input_masks(source)) * batch.weight[batch.domain_id == 0]
        return {"loss_segmentation": supervised.mean(), "loss_skd": weight * loss}

    def views(self, batch: Batch, source: Inputs, beta: float) -> Tensor:
        """Return the strong views (S, 3, H, W) of the source images, normalised."""
        return strong_views(self.model, batch, beta)


class DiGACrossDoMix(DiGAWarmUp):
    """The warm-up with views v that keep half of the classes of the strong view; the rest is a pseudo image of x."""

    name: ClassVar[str] = "diga_crossdomix"
    needs: ClassVar[Needs] = Needs(batches="halves")

    def views(self, batch: Batch, source: Inputs, beta: float) -> Tensor:
        """Return the mixed views; images without a pseudo image in the batch get strong views."""
        return crossdomix_views(self.model, batch, source, beta)


class DiGA(SelfTrains, DiGACrossDoMix):
    """First the warm-up with CrossDoMix, then ``L = CE(source) + lambda_mix CE(mix) + lambda_skd L_SKD``."""

    name: ClassVar[str] = "diga"
    needs: ClassVar[Needs] = Needs(batches="halves", unlabelled_targets=True)
    Params: ClassVar[type[Params]] = DiGAParams
    training_only: ClassVar[tuple[str, ...]] = ("distillation", "self_training")
    params: DiGAParams

    def __init__(self, model: TaskModel, params: DiGAParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.self_training = SelfTraining(self.predictor(), params.self_training)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of the warm-up, and during self-training also ``loss_mix``."""
        adapt = self.unlabelled(batch)
        if not self.self_training.starts(self.predictor(), self.distillation, progress):
            return super().losses(batch, progress)
        own, source = self.params.self_training, self.source(batch)
        labelled = source.images, input_masks(source)
        return (self.distil(batch, source, own.beta, own.lambda_skd)
                | self.self_training.losses(self.model, self.distillation.model, labelled, adapt))
