"""InstructPix2Pix: the U-Net also takes the clean source, so geometry is kept even at strength 1."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from dg_project.diffusion.latents import LastSteps, encode, scheduled
from dg_project.diffusion.modes.base import Mode, ModeInputs, Sampling

LATENTS = 4
"""Channels by which diffusers recognises a source image that is given as latents."""


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
            "image": self._sources(inputs),
            "image_guidance_scale": sampling.image_guidance_scale,
            **self.text(inputs, sampling),
        }
        if self.pipeline.__class__.__name__ == self.pipelines["sdxl"]:
            call |= inputs.size  # else the checkpoint's default size
        if sampling.run == sampling.steps:
            return self.pipeline(**call).images
        with scheduled(self.pipeline, LastSteps(self.pipeline.scheduler, sampling.run)):
            self.pipeline.scheduler.set_timesteps(sampling.steps, device=self.pipeline._execution_device)
            call["latents"] = self.noised(inputs)
            return self.pipeline(**call).images

    def _sources(self, inputs: ModeInputs) -> list[Image.Image] | Tensor:
        """Return what diffusers takes as source images; of one source its latents, encoded once."""
        vae = self.pipeline.vae
        if not inputs.one_source or vae.config.latent_channels != LATENTS or vae.dtype != self.pipeline.unet.dtype:
            return list(inputs.images)
        with torch.no_grad():
            pixels = self.pipeline.image_processor.preprocess(inputs.images[0])
            latents = vae.encode(pixels.to(self.pipeline._execution_device, vae.dtype)).latent_dist.mode()
        return latents.expand(len(inputs.images), -1, -1, -1)

    def noised(self, inputs: ModeInputs) -> Tensor:
        """Return the source latents ``(N, C, h, w)`` noised to the scheduler's first timestep, one generator each."""
        scheduler = self.pipeline.scheduler
        images = [inputs.images[0]] if inputs.one_source else list(inputs.images)
        clean = encode(self.pipeline, self.pipeline.image_processor.preprocess(images))
        clean = clean.expand(len(inputs.images), -1, -1, -1)
        noise = torch.cat([torch.randn(clean[:1].shape, generator=g) for g in inputs.generators]).to(clean)
        noised = scheduler.add_noise(clean, noise, scheduler.timesteps[:1].expand(len(clean)))
        return noised / scheduler.init_noise_sigma
