"""Encode and decode images with a pipeline's VAE, and run part of a noise schedule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def scaled_latents(vae: Any, pixels: Tensor) -> Tensor:
    """Return the latents ``(N, C, h, w)`` of pixels ``(N, 3, H, W)`` in -1..1: scaled mode of each distribution."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput

    found = vae.encode(pixels)
    latents = found.latents if isinstance(found, AutoencoderTinyOutput) else found.latent_dist.mode()
    return latents * vae.config.scaling_factor


@torch.no_grad()
def encode(pipeline: Any, pixels: Tensor) -> Tensor:
    """Return ``scaled_latents`` of pixels ``(N, 3, H, W)`` in -1..1, on the pipeline's device and in its dtype."""
    vae, dtype = pipeline.vae, pipeline.unet.dtype
    overflows = vae.dtype == torch.float16 and vae.config.force_upcast  # every SDXL pipeline upcasts here too
    if overflows:
        vae.to(torch.float32)
    latents = scaled_latents(vae, pixels.to(pipeline._execution_device, vae.dtype))
    if overflows:
        vae.to(dtype)
    return latents.to(dtype)


@contextmanager
def equal_images_encoded_once(vae: Any) -> Iterator[None]:
    """Inside the block, encode consecutive equal images once, so that all images of one source share its latents."""
    from diffusers import AutoencoderKL
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
    from diffusers.models.modeling_outputs import AutoencoderKLOutput

    if not isinstance(vae, AutoencoderKL):
        yield
        return
    plain = vae.encode
    last: list[Tensor] = []

    def encode_once(pixels: Tensor, return_dict: bool = True) -> Any:
        different: list[Tensor] = []
        row: list[int] = []
        for image in pixels:
            if not different or not torch.equal(image, different[-1]):
                different.append(image)
            row.append(len(different) - 1)
        known = len(different) == 1 and last and torch.equal(different[0], last[0])
        found = last[1] if known else plain(torch.stack(different)).latent_dist.parameters
        last[:] = [different[-1], found[-1:]]
        latents = DiagonalGaussianDistribution(found[row])
        return AutoencoderKLOutput(latent_dist=latents) if return_dict else (latents,)

    vae.encode = encode_once
    try:
        yield
    finally:
        vae.encode = plain


class LatentMap:
    """The VAE of a pipeline as a pair of maps for images of one size.

    Args:
        pipeline: open diffusers pipeline.
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


class LastSteps:
    """A scheduler whose pipeline sees only the last ``run`` timesteps; the schedule itself stays complete.

    Multistep solvers look up their position in the full schedule, so shortening ``timesteps`` itself would break them.
    """

    def __init__(self, scheduler: Any, run: int) -> None:
        self._scheduler = scheduler
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    @property
    def timesteps(self) -> Tensor:
        """Timesteps to run, ``(run * order,)``."""
        return self._scheduler.timesteps[-self._run * self._scheduler.order :]

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        """Build the full schedule and start at the first timestep to run."""
        self._scheduler.set_timesteps(*args, **kwargs)
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(len(self._scheduler.timesteps) - len(self.timesteps))


class FirstSteps(LastSteps):
    """A scheduler whose pipeline sees only the first ``run`` timesteps, as inversion needs."""

    @property
    def timesteps(self) -> Tensor:
        """Timesteps to run, ``(run * order,)``."""
        return self._scheduler.timesteps[: self._run * self._scheduler.order]

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        """Build the full schedule and start at its beginning."""
        self._scheduler.set_timesteps(*args, **kwargs)


@contextmanager
def scheduled(pipeline: Any, scheduler: Any) -> Iterator[None]:
    """Run the pipeline with another scheduler inside the block."""
    own = pipeline.scheduler
    pipeline.scheduler = scheduler
    try:
        yield
    finally:
        pipeline.scheduler = own
