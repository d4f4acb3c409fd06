"""The contract of a mode: how one kind of diffusers pipeline turns source images into new ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from dg_project.config import denoising_steps


@dataclass(frozen=True)
class Batch:
    """Images of one size that go through the networks together.

    Attributes:
        images: RGB, sides that the networks can halve.
        prompts: one text per image.
        generators: one seeded generator per image.
        boxes: per image ``(n, 4)`` xyxy, in pixels of ``images``.
        masks: per image its train ids as an image of the same size, or None.
    """

    images: Sequence[Image.Image]
    prompts: Sequence[str]
    generators: Sequence[torch.Generator]
    boxes: Sequence[np.ndarray]
    masks: Sequence[Image.Image | None]

    @property
    def size(self) -> dict[str, int]:
        """Height and width, as diffusers names them."""
        return {"height": self.images[0].height, "width": self.images[0].width}


@dataclass(frozen=True)
class Sampling:
    """How every image of a call is sampled.

    Attributes:
        strength: share of the schedule that is run, above 0.
        steps: length of the whole schedule.
        guidance_scale: classifier-free guidance; 1 is off.
        image_guidance_scale: of the mode instruct.
        negative_prompt: what to steer away from.
    """

    strength: float = 1.0
    steps: int = 6
    guidance_scale: float = 1.0
    image_guidance_scale: float = 1.0
    negative_prompt: str = ""

    @property
    def run(self) -> int:
        """Denoising steps that are run."""
        return denoising_steps(self.steps, self.strength)

    @property
    def share(self) -> float:
        """The strength as diffusers wants it: ``int(steps * share)`` is ``run`` whatever the rounding errors."""
        return 1.0 if self.run == self.steps else (self.run + 0.5) / self.steps


class Mode(ABC):
    """Base of the modes. A mode is built for an opened pipeline and the parameter group of its own name.

    Attributes:
        name: value of ``ldm.mode``, and name of its group of parameters where it has one.
        pipelines: family of the checkpoint -> diffusers class that it is opened as.
    """

    name: ClassVar[str]
    pipelines: ClassVar[dict[str, str]]

    def __init__(self, pipeline: Any, params: Any = None) -> None:
        self.pipeline = pipeline
        self.params = params

    @classmethod
    def channels(cls, image_channels: int) -> set[int]:
        """Return how many channels the U-Net may take, whose latents have ``image_channels``."""
        return {image_channels}

    @abstractmethod
    def __call__(self, batch: Batch, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the batch, of the same size."""

    def finish(self, source: Image.Image, made: Image.Image, boxes: np.ndarray) -> Image.Image:
        """Return ``made`` as it is stored; both images and the boxes ``(n, 4)`` are in the source's own pixels."""
        return made

    @staticmethod
    def text(batch: Batch, sampling: Sampling) -> dict[str, Any]:
        """Return the arguments that every diffusers pipeline takes."""
        return {
            "prompt": list(batch.prompts),
            "negative_prompt": [sampling.negative_prompt] * len(batch.prompts),
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance_scale,
            "generator": list(batch.generators),
        }


class Img2Img(Mode):
    """Stable Diffusion, SDXL and latent consistency models. What is left of the source is what the noise left."""

    name = "img2img"
    pipelines: ClassVar[dict[str, str]] = {
        "sd": "StableDiffusionImg2ImgPipeline",
        "sdxl": "StableDiffusionXLImg2ImgPipeline",
    }

    def __call__(self, batch: Batch, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the batch."""
        call = self.text(batch, sampling)
        return self.pipeline(image=list(batch.images), strength=sampling.share, **call).images
