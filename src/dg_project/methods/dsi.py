"""DSI (Yu et al., 2023): at test time a diffusion model moves an unseen image towards the source."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dg_project.config import Fraction, Params, Task, denoising_steps
from dg_project.methods.base import Needs
from dg_project.methods.erm import ERM
from dg_project.tasks.base import Prediction

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator


class DSIParams(Params):
    """Strength of the projection, and which images are projected."""

    prompt: str = Field("a city street on a clear sunny day", description="description of the source images")
    start: float = Field(0.17, gt=0, le=1, description="T0: share of the noise schedule that is run")
    steps: int = Field(6, ge=1, description="length of the full schedule")
    guidance_scale: float = Field(1.0, ge=0)
    threshold: Fraction = Field(0.5, description="images with a class at least this probable are not projected")
    alpha: Fraction = Field(0.25, description="weight of the prediction for the projected image")

    @model_validator(mode="after")
    def _steps_to_run(self) -> Self:
        if denoising_steps(self.steps, self.start) < 1:
            raise ValueError(f"start {self.start} with steps {self.steps} runs no denoising step: raise steps to "
                             f"{math.ceil(1 / self.start)} or more, or start")
        return self


def mix_predictions(probabilities: Tensor, projected: Tensor, alpha: float) -> Tensor:
    """Return ``(1 - alpha) p(x) + alpha p(x^)``; both ``(..., classes)``."""
    return (1 - alpha) * probabilities + alpha * projected


class DSI(ERM):
    """ERM with ``(1 - alpha) p(x) + alpha p(x^)`` for unsure images; ``x^``: noised to T0, denoised with the prompt."""

    name: ClassVar[str] = "dsi"
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    needs: ClassVar[Needs] = Needs(ldm="prediction")
    Params: ClassVar[type[Params]] = DSIParams
    params: DSIParams
    ldm: Generator | None = None

    def use_ldm(self, ldm: Generator) -> None:
        """Keep the diffusion model for ``predict``. See ``Method.use_ldm``."""
        self.ldm = ldm

    def predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predict images (3, h, w) in [0, 1] of any size; unsure ones are also projected by the diffusion model."""
        found = super().predict(images)
        if self.ldm is None:
            return found
        unsure = [i for i, one in enumerate(found) if one["probabilities"].max() < self.params.threshold]
        back = super().predict(self.bring_back(self.ldm, [images[i] for i in unsure])) if unsure else []
        for i, projected in zip(unsure, back, strict=True):
            mixed = mix_predictions(found[i]["probabilities"], projected["probabilities"], self.params.alpha)
            found[i] = {"probabilities": mixed}
        return found

    def bring_back(self, ldm: Generator, images: Sequence[Tensor]) -> list[Tensor]:
        """Return the projected images ``x^`` of images (3, h, w) in [0, 1]; the image determines the noise."""
        pixels = [(image * 255).round().to(torch.uint8).cpu() for image in images]
        made = ldm.generate(pixels, [self.params.prompt] * len(pixels), [_seed(image) for image in pixels],
                            strength=self.params.start, steps=self.params.steps,
                            guidance_scale=self.params.guidance_scale)
        return [_tensor(image).to(original) for image, original in zip(made, images, strict=True)]


def _seed(image: Tensor) -> int:
    return int.from_bytes(hashlib.blake2b(image.contiguous().numpy().tobytes(), digest_size=6).digest(), "big")


def _tensor(image: object) -> Tensor:
    from torchvision.transforms.functional import pil_to_tensor

    return pil_to_tensor(image).float() / 255
