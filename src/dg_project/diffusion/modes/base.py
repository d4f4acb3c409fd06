"""Base class of the modes: how one kind of diffusers pipeline turns source images into new ones."""

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
class ModeInputs:
    """Images of one size that run through the networks together.

    Attributes:
        images: RGB images padded to sizes that the networks can halve.
        prompts: one text per image.
        generators: one seeded generator per image.
        boxes: boxes of each image, ``(n, 4)`` xyxy in pixels of ``images``.
        masks: train ids of each image as an image of the same size, or None.
    """

    images: Sequence[Image.Image]
    prompts: Sequence[str]
    generators: Sequence[torch.Generator]
    boxes: Sequence[np.ndarray]
    masks: Sequence[Image.Image | None]

    @property
    def size(self) -> dict[str, int]:
        """Height and width as arguments of diffusers."""
        return {"height": self.images[0].height, "width": self.images[0].width}


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of one call.

    Attributes:
        strength: share of the schedule to run, above 0.
        steps: length of the full schedule.
        guidance_scale: classifier-free guidance; 1 turns it off.
        image_guidance_scale: guidance towards the source image (mode instruct).
        negative_prompt: text to steer away from.
    """

    strength: float = 1.0
    steps: int = 6
    guidance_scale: float = 1.0
    image_guidance_scale: float = 1.0
    negative_prompt: str = ""

    @property
    def run(self) -> int:
        """Number of denoising steps to run."""
        return denoising_steps(self.steps, self.strength)

    @property
    def share(self) -> float:
        """The strength for diffusers: ``int(steps * share)`` equals ``run`` despite rounding errors."""
        return 1.0 if self.run == self.steps else (self.run + 0.5) / self.steps


class Mode(ABC):
    """Base class of the modes. A mode takes an open pipeline and the parameter group named like the mode.

    Attributes:
        name: value of ``ldm.mode``, and name of the mode's parameter group if it has one.
        pipelines: family of the checkpoint -> diffusers class to open it with.
    """

    name: ClassVar[str]
    pipelines: ClassVar[dict[str, str]]

    def __init__(self, pipeline: Any, params: Any = None) -> None:
        self.pipeline = pipeline
        self.params = params

    @classmethod
    def channels(cls, image_channels: int) -> set[int]:
        """Return the allowed numbers of U-Net input channels for latents of ``image_channels``."""
        return {image_channels}

    @abstractmethod
    def __call__(self, inputs: ModeInputs, sampling: Sampling) -> list[Image.Image]:
        """Return one generated image per input image, of the same size."""

    def finish(self, source: Image.Image, made: Image.Image, boxes: np.ndarray) -> Image.Image:
        """Post-process the generated image; images and boxes ``(n, 4)`` are in pixels of the source."""
        return made

    @staticmethod
    def text(inputs: ModeInputs, sampling: Sampling) -> dict[str, Any]:
        """Return the arguments common to all diffusers pipelines."""
        return {
            "prompt": list(inputs.prompts),
            "negative_prompt": [sampling.negative_prompt] * len(inputs.prompts),
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance_scale,
            "generator": list(inputs.generators),
        }


class Img2Img(Mode):
    """Stable Diffusion, SDXL and latent consistency models, starting from the noised source."""

    name = "img2img"
    pipelines: ClassVar[dict[str, str]] = {
        "sd": "StableDiffusionImg2ImgPipeline",
        "sdxl": "StableDiffusionXLImg2ImgPipeline",
    }

    def __call__(self, inputs: ModeInputs, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the inputs."""
        call = self.text(inputs, sampling)
        return self.pipeline(image=list(inputs.images), strength=sampling.share, **call).images
