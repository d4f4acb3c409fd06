"""Self-training on unlabelled images (DiGA): paste half of the classes of a source image into a target (DACS)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from dg_project.config import Fraction
from dg_project.data.batches import Batch
from dg_project.methods.diga.class_mix import half_of_the_classes, mixed
from dg_project.methods.diga.consensus import BilateralConsensus, ConsensusParams
from dg_project.methods.diga.distillation import DistillationParams, SymmetricDistillation, strong_view
from dg_project.tasks.segmentation import IGNORE, Segmenter, pixel_loss


class SelfTrainingParams(ConsensusParams):
    """Settings after the warm-up; the defaults are those of DiGA."""

    beta: Fraction = Field(0.3, description="strength of the colour changes in the strong view")
    lambda_skd: float = Field(0.25, ge=0, description="weight of the distillation")
    lambda_mix: float = Field(1.0, ge=0, description="weight of the loss on mixed images")


class DiGAParams(DistillationParams):
    """Parameters of the warm-up and of self-training."""

    self_training: SelfTrainingParams = SelfTrainingParams()


class SelfTrains:
    """Mixin: loop callbacks of self-training. List it before the method base class."""

    self_training: SelfTraining

    def selectable(self, progress: float) -> bool:
        """Exclude the warm-up: an adapted model must have seen targets."""
        return progress > self.self_training.params.start

    def adapt_to(self, targets: Sequence[str]) -> None:
        """Create centroids for each target domain."""
        self.self_training.consensus.set_targets(targets)

    def end_step(self) -> None:
        """Update the centroids."""
        self.self_training.consensus.centroids.update()


class SelfTraining(nn.Module):
    """Labels of target images, and the loss on images mixed from both domains.

    Args:
        student: ``Method.predictor()``; its entry ``model`` is the task model.
        params: settings of self-training.
    """

    def __init__(self, student: nn.ModuleDict, params: SelfTrainingParams) -> None:
        super().__init__()
        self.params = params
        self.consensus = BilateralConsensus(student, params)

    def starts(self, student: nn.ModuleDict, distillation: SymmetricDistillation, progress: float) -> bool:
        """Return whether the warm-up is over; each round resets the labeller and the teacher to the student."""
        if progress < self.params.start:
            return False
        if self.consensus.start_round(student, progress):
            distillation.teacher.updates.zero_()
            distillation.teacher.update(student)
        return True

    def losses(self, student: Segmenter, teacher: Segmenter, source: tuple[Tensor, Tensor],
               target: Batch) -> dict[str, Tensor]:
        """Return the weighted ``loss_mix``; ``log_consensus`` is the share of target pixels with a label.

        Args:
            student: task model that is trained.
            teacher: task model of the distillation's teacher.
            source: images (S, 3, H, W), normalised, and their masks (S, H, W) int64.
            target: unlabelled images; source images are used in turn.
        """
        domains = [str(row["domain"]) for row in target.targets]
        labels = self.consensus.label(teacher, student.prepare(target.images).images, domains)
        views = student.prepare(strong_view(target.images, self.params.beta)).images
        rows = torch.arange(len(target), device=labels.device) % len(source[0])
        images, masks = (part[rows] for part in source)
        pasted = half_of_the_classes(masks)
        logits = student.pixel_logits(mixed(pasted, images, views))
        loss = pixel_loss(logits, mixed(pasted, masks, labels)).mean()
        return {"loss_mix": self.params.lambda_mix * loss, "log_consensus": (labels != IGNORE).float().mean()}
