"""ERM with strong photometric augmentation: what can be had without a diffusion model."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms import v2

from dg_project.config import Fraction, Params
from dg_project.data.batches import Batch
from dg_project.data.images import to_float, to_uint8
from dg_project.methods.erm import ERM

CHANGES: tuple[v2.Transform, ...] = (
    v2.ColorJitter(brightness=0.6),
    v2.ColorJitter(contrast=0.6),
    v2.ColorJitter(saturation=0.8),
    v2.ColorJitter(hue=0.1),
    v2.RandomGrayscale(1.0),
    v2.RandomEqualize(1.0),
    v2.RandomAutocontrast(1.0),
    v2.RandomPosterize(3, 1.0),
    v2.RandomSolarize(128, 1.0),
    v2.RandomAdjustSharpness(3.0, 1.0),
    v2.GaussianBlur(5, (0.3, 2.5)),
    v2.GaussianNoise(sigma=0.1),
    v2.JPEG((10, 60)),
)
"""Changes of colours, sharpness and noise that move no pixel, so that boxes and masks stay valid."""


class AugmentedParams(Params):
    """Number of changes."""

    p: Fraction = Field(0.8, description="probability that an image is changed")
    most: int = Field(3, ge=1, le=len(CHANGES), description="most changes of one image, one after the other")


def augment(image: Tensor, most: int) -> Tensor:
    """Return an image (3, H, W), float 0..1, after one to ``most`` different ``CHANGES``; torch's generator draws."""
    chosen = torch.randperm(len(CHANGES))[:int(torch.randint(1, most + 1, ()))]
    changed = to_uint8(image)
    for number in chosen.tolist():
        changed = CHANGES[number](changed)
    return to_float(changed)


class Augmented(ERM):
    """``L = L_task`` on source images, most of them changed by ``augment``."""

    name: ClassVar[str] = "augmented"
    Params: ClassVar[type[Params]] = AugmentedParams
    params: AugmentedParams

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task's losses on the augmented rows."""
        images = [augment(image.cpu(), self.params.most).to(image.device) if torch.rand(()) < self.params.p else image
                  for image in batch.images]
        return super().losses(replace(batch, images=images), progress)
