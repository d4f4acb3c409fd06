"""Single images to VAE latents and back."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dg_project.diffusion.modes.schedule import encode


class LatentMap:
    """The autoencoder of a pipeline as a pair of maps for images of one size.

    Args:
        pipeline: an opened diffusers pipeline.
        size: height and width of the images.
    """

    def __init__(self, pipeline: Any, size: tuple[int, int]) -> None:
        self.pipeline, self.size = pipeline, size
        self.factor = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)

    def encode(self, image: Tensor) -> Tensor:
        """Return the scaled latents (C, h, w) float32 of an image (3, H, W) in 0..1; borders are repeated to fit."""
        height, width = self.size
        padded = F.pad(image[None], (0, -width % self.factor, 0, -height % self.factor), mode="replicate")
        return encode(self.pipeline, 2 * padded - 1)[0].float().cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return the image (3, H, W) float32 in 0..1 of scaled latents (C, h, w)."""
        vae = self.pipeline.vae
        scaled = (latents[None] / vae.config.scaling_factor).to(self.pipeline._execution_device, vae.dtype)
        height, width = self.size
        return (vae.decode(scaled).sample[0, :, :height, :width].float().cpu() / 2 + 0.5).clamp(0, 1)
