"""DDIM inversion: find the noise that the model would generate the source from; denoise it with the new prompt."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from diffusers import DDIMInverseScheduler, DDIMScheduler
from PIL import Image
from torch import Tensor

from dg_project.diffusion.latents import FirstSteps, LastSteps, encode, scheduled
from dg_project.diffusion.modes.base import Mode, ModeInputs, Sampling

SPACINGS = ("leading", "trailing")
"""Timestep spacings supported by the inverse scheduler of diffusers."""


class Inversion(Mode):
    """Stable Diffusion or SDXL. The noise comes from the source, not from random draws, so structure is kept."""

    name = "inversion"
    pipelines: ClassVar[dict[str, str]] = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}

    def __init__(self, pipeline: Any, params: Any = None) -> None:
        super().__init__(pipeline, params)
        config = pipeline.scheduler.config
        spacing = config.get("timestep_spacing")
        options = {"clip_sample": False, "timestep_spacing": spacing if spacing in SPACINGS else "leading"}
        self._sampler = DDIMScheduler.from_config(config, **options)
        known = inspect.signature(DDIMInverseScheduler).parameters
        self._inverter = DDIMInverseScheduler(**{k: v for k, v in self._sampler.config.items() if k in known})

    def __call__(self, inputs: ModeInputs, sampling: Sampling) -> list[Image.Image]:
        """Return one generated image per input image: invert to the noise of the strength, then denoise."""
        noise = self.invert(inputs, sampling)
        with scheduled(self.pipeline, LastSteps(self._sampler, sampling.run)):
            call = self.text(inputs, sampling) | {"eta": self.params.eta}
            return self.pipeline(latents=noise, **call, **inputs.size).images

    def invert(self, inputs: ModeInputs, sampling: Sampling) -> Tensor:
        """Return the latents ``(N, C, h, w)`` after ``run`` inverse steps; guidance cannot be inverted."""
        call = {
            "prompt": [self.params.source_prompt] * len(inputs.images),
            "num_inference_steps": sampling.steps,
            "guidance_scale": 1.0,
            "output_type": "latent",
        }
        latents = encode(self.pipeline, self.pipeline.image_processor.preprocess(list(inputs.images)))
        with scheduled(self.pipeline, FirstSteps(self._inverter, sampling.run)):
            return self.pipeline(latents=latents, **call, **inputs.size).images
