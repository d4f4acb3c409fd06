"""SDEdit: the source is noised part of the way, and denoised under the prompt."""

from __future__ import annotations

from typing import ClassVar

from PIL import Image

from dg_project.diffusion.modes.base import Batch, Mode, Sampling


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
