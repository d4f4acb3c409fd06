"""InstructPix2Pix: the U-Net also takes the clean source, so geometry is kept even at strength 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from dg_project.diffusion.latents import LastSteps, encode, scheduled
from dg_project.diffusion.modes.base import Mode, ModeInputs, Sampling


class Instruct(Mode):
    """InstructPix2Pix of Stable Diffusion (such as the tiny LDM) or SDXL; adds the strength that diffusers lacks."""

    name = "instruct"
    pipelines: ClassVar[dict[str, str]] = {
        "sd": "StableDiffusionInstructPix2PixPipeline",
        "sdxl": "StableDiffusionXLInstructPix2PixPipeline",
    }

    @classmethod
    def channels(cls, image_channels: int) -> set[int]:
        """Return the channels of noisy and source latents together."""
        return {2 * image_channels}

    def __call__(self, inputs: ModeInputs, sampling: Sampling) -> list[Image.Image]:
        """Return one generated image per input image; below strength 1, start from the noised source."""
        call: dict[str, Any] = {
            "image": list(inputs.images),
            "image_guidance_scale": sampling.image_guidance_scale,
            **self.text(inputs, sampling),
        }
        if self.pipeline.__class__.__name__ == self.pipelines["sdxl"]:
            call |= inputs.size  # else the checkpoint's default size
        if sampling.run == sampling.steps:
            return self.pipeline(**call).images
        with scheduled(self.pipeline, LastSteps(self.pipeline.scheduler, sampling.run)):
            self.pipeline.scheduler.set_timesteps(sampling.steps, device=self.pipeline._execution_device)
            call["latents"] = self.noised(inputs.images, inputs.generators)
            return self.pipeline(**call).images

    def noised(self, images: Sequence[Image.Image], generators: Sequence[torch.Generator]) -> Tensor:
        """Return the source latents ``(N, C, h, w)`` noised to the scheduler's first timestep, one generator each."""
        scheduler = self.pipeline.scheduler
        clean = encode(self.pipeline, self.pipeline.image_processor.preprocess(list(images)))
        noise = torch.cat([torch.randn(clean[:1].shape, generator=g) for g in generators]).to(clean)
        noised = scheduler.add_noise(clean, noise, scheduler.timesteps[:1].expand(len(clean)))
        return noised / scheduler.init_noise_sigma
