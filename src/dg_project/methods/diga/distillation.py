"""Symmetric knowledge distillation between two views (DiGA, Shen et al., CVPR 2023).

``docs/methods/diga.md`` marks what the paper and its released configuration document, and what is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision.transforms import v2

from dg_project.config import Fraction, Params
from dg_project.ops.ema import Teacher
from dg_project.tasks.segmentation import Segmenter


class DistillationParams(Params):
    """Teacher, strong view and weight; the defaults are those of DiGA's warm-up."""

    teacher_alpha: Fraction = Field(0.999, description="largest decay of the EMA teacher")
    beta: Fraction = Field(0.4, description="strength of the colour changes in the strong view")
    lambda_skd: float = Field(0.5, ge=0, description="weight of the distillation")


COLOURS = v2.Compose([
    v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.5),
    v2.RandomGrayscale(p=0.3),
    v2.RandomApply([v2.GaussianBlur(3, (2.0, 2.0))], p=0.8),
])
"""E: changes colours and sharpness of an image (3, h, w) in [0, 1], not its geometry."""


def strong_view(images: Sequence[Tensor], beta: float) -> list[Tensor]:
    """Return ``beta E(x) + (1 - beta) x`` for every image (3, h, w) in [0, 1]; each draws its own E."""
    return [beta * COLOURS(image) + (1 - beta) * image for image in images]


def soft_cross_entropy(teacher: Tensor, student: Tensor) -> Tensor:
    """Return ``-sum_c softmax(teacher)_c log softmax(student)_c`` of logits (N, C, H, W), mean over all pixels."""
    return -(teacher.softmax(1) * student.log_softmax(1)).sum(1).mean()


def symmetric_loss(teacher: tuple[Tensor, Tensor], student: tuple[Tensor, Tensor]) -> Tensor:
    """Return ``CE(T(x), S(v)) + 0.5 CE(T(v), S(x))``.

    Args:
        teacher: logits (N, C, H, W) of the images x, and of their views v.
        student: logits of the same shapes.
    """
    return soft_cross_entropy(teacher[0], student[1]) + 0.5 * soft_cross_entropy(teacher[1], student[0])


class SymmetricDistillation(nn.Module):
    """EMA teacher of a segmentation method and the symmetric loss. The teacher follows the mode of the method.

    Args:
        student: ``Method.predictor()``; its entry ``model`` is the task model.
        alpha: largest decay of the teacher.
    """

    def __init__(self, student: nn.ModuleDict, alpha: float) -> None:
        super().__init__()
        self.teacher = Teacher(student, alpha)

    @property
    def model(self) -> Segmenter:
        """The teacher's task model."""
        model = self.teacher.module["model"]
        assert isinstance(model, Segmenter)
        return model

    def forward(self, student: Segmenter, images: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return the student's logits (N, C, H, W) of the images, and the symmetric loss.

        Args:
            student: task model that is trained.
            images: (N, 3, H, W), normalised.
            views: their strong views.
        """
        both = torch.cat([images, views])
        seen, seen_in_view = student.pixel_logits(both).chunk(2)
        with torch.no_grad():
            taught, taught_in_view = self.model.pixel_logits(both).chunk(2)
        return seen, symmetric_loss((taught, taught_in_view), (seen, seen_in_view))
