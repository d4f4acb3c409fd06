"""Masked consistency (MIC, Hoyer et al., CVPR 2023): predict the teacher's labels from a masked image.

``docs/methods/uda.md`` marks what the paper and its released configuration document, and what is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from pydantic import Field
from torch import Tensor, nn

from dg_project.config import Fraction, Params
from dg_project.data.batches import Batch
from dg_project.ops.ema import Teacher
from dg_project.tasks.base import TaskModel


class ConsistencyParams(Params):
    """Teacher, pseudo labels and masks; the defaults are those of MIC's released configuration for detection."""

    teacher_alpha: Fraction = Field(0.9, description="largest decay of the EMA teacher")
    pseudo_sure: Fraction = Field(0.8, description="least score of a pseudo label")
    pseudo_unsure: Fraction = Field(0.3, description="scores from here up to pseudo_sure are ignored; with pseudo_sure "
                                                     "or more they are background")
    mask_block: int = Field(32, ge=1, description="side of a masked block, pixels of the network input")
    mask_ratio: Fraction = Field(0.5, description="share of the blocks that are masked")
    lambda_consistency: float = Field(1.0, ge=0)


def block_mask(shape: tuple[int, int, int], block: int, ratio: float) -> Tensor:
    """Draw a mask of square blocks from the upper left corner, each hidden with probability ``ratio``.

    Args:
        shape: number of images, height, width.
        block: side of a block in pixels.
        ratio: probability that a block is hidden.

    Returns:
        ``(N, 1, H, W)`` float32, 1 for visible pixels.
    """
    count, height, width = shape
    seen = (torch.rand(count, 1, -(-height // block), -(-width // block)) >= ratio).float()
    return seen.repeat_interleave(block, 2).repeat_interleave(block, 3)[..., :height, :width]


class MaskedConsistency(nn.Module):
    """EMA teacher of a method, and the consistency loss on masked images.

    Args:
        student: ``Method.predictor()``; its entry ``model`` is the task model.
        params: teacher, pseudo labels and masks.
    """

    def __init__(self, student: nn.ModuleDict, params: ConsistencyParams) -> None:
        super().__init__()
        self.params = params
        self.teacher = Teacher(student, params.teacher_alpha)

    def train(self, mode: bool = True) -> Self:
        """Switch the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def pseudo_label(self, images: Batch) -> Batch:
        """Return the images with the teacher's predictions as targets.

        The weight of an image is the task's measure of the teacher's confidence; 0 if no prediction is confident.
        """
        teacher = self.teacher.module["model"]
        assert isinstance(teacher, TaskModel)
        targets, weight = teacher.pseudo_label(images.images, self.params.pseudo_sure, self.params.pseudo_unsure)
        return replace(images, targets=targets, weight=images.weight * weight)

    def losses(self, model: TaskModel, labelled: Batch) -> dict[str, Tensor]:
        """Return ``loss_consistency``: the student's task loss on masked images with pseudo labels.

        Masked pixels have the mean colour, 0 after normalisation. ``log_pseudo_weight`` is the mean weight.

        Args:
            model: task model of the student.
            labelled: batch from ``pseudo_label``.
        """
        inputs = model.prepare(labelled.images, labelled.targets)
        shape = len(inputs), inputs.images.shape[-2], inputs.images.shape[-1]
        mask = block_mask(shape, self.params.mask_block, self.params.mask_ratio).to(inputs.images.device)
        maps = model.neck(model.features(inputs.images * mask))
        task = torch.stack(list(model.losses(maps, inputs, labelled.weight).values())).sum()
        return {"loss_consistency": self.params.lambda_consistency * task,
                "log_pseudo_weight": labelled.weight.mean()}
