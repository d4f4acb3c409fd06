"""DDIM inversion: the noise that the model itself would have made the source from, denoised under the new prompt."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from diffusers import DDIMInverseScheduler, DDIMScheduler
from PIL import Image
from torch import Tensor

from dg_project.diffusion.latents import FirstSteps, LastSteps, encode, scheduled
from dg_project.diffusion.modes.base import Batch, Mode, Sampling

SPACINGS = ("leading", "trailing")
"""What the inverse scheduler of diffusers knows."""


class Inversion(Mode):
    """Stable Diffusion or SDXL. Structure is kept because the noise is the source's own; nothing is drawn at random."""

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

    def __call__(self, batch: Batch, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the batch: up to the noise of the strength, and down under the prompt."""
        noise = self.invert(batch, sampling)
        with scheduled(self.pipeline, LastSteps(self._sampler, sampling.run)):
            call = self.text(batch, sampling) | {"eta": self.params.eta}
            return self.pipeline(latents=noise, **call, **batch.size).images

    def invert(self, batch: Batch, sampling: Sampling) -> Tensor:
        """Return the latents ``(N, C, h, w)`` after ``run`` steps upwards, without guidance, which would not invert."""
        call = {
            "prompt": [self.params.source_prompt] * len(batch.images),
            "num_inference_steps": sampling.steps,
            "guidance_scale": 1.0,
            "output_type": "latent",
        }
        latents = encode(self.pipeline, self.pipeline.image_processor.preprocess(list(batch.images)))
        with scheduled(self.pipeline, FirstSteps(self._inverter, sampling.run)):
            return self.pipeline(latents=latents, **call, **batch.size).images
