"""Helpers shared by the tests of the modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dg_project.config import LDMParams
from dg_project.diffusion.generator import Generator

BOX = np.array([[9.0, 6, 21, 15]])


def scene(seed: int, width: int = 40, height: int = 24) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def trainids(width: int = 40, height: int = 24) -> Image.Image:
    ids = np.zeros((height, width), np.uint8)
    ids[: height // 2], ids[8:16, 10:20] = 10, 13
    return Image.fromarray(ids)


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


def opened(checkpoint: Path, **options: Any) -> Generator:
    return Generator.from_params(LDMParams(checkpoint=str(checkpoint), **options))


def make(generator: Generator, image: Image.Image | None = None, prompt: str = "night", seed: int = 0,
         **options: Any) -> Image.Image:
    given = {"boxes": [BOX], "masks": [trainids()], "steps": 4, "strength": 0.5, **options}
    return generator.generate([image or scene(0)], [prompt], [seed], **given)[0]


ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
"""The noise schedule of Stable Diffusion, which ends at its first alpha, not at 1."""


def latents_of(generator: Generator, image: Image.Image) -> torch.Tensor:
    """Encode an image with the checkpoint's autoencoder, independently of the project's code."""
    vae = generator.pipeline.vae
    with torch.no_grad():
        return vae.encode(_pixels(image)).latent_dist.mean * vae.config.scaling_factor


def _pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def denoise(generator: Generator, latents: torch.Tensor, timestep: int, prompt: str, alpha: torch.Tensor, *,
            velocity: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the clean latents and the noise predicted by the U-Net at noise level ``alpha``."""
    pipeline = generator.pipeline
    with torch.no_grad():
        output = pipeline.unet(latents, timestep, pipeline.encode_prompt([prompt], "cpu", 1, False)[0]).sample
    if velocity:
        return (alpha.sqrt() * latents - (1 - alpha).sqrt() * output,
                alpha.sqrt() * output + (1 - alpha).sqrt() * latents)
    return (latents - (1 - alpha).sqrt() * output) / alpha.sqrt(), output


def sdedit(generator: Generator, image: Image.Image, prompt: str, seed: int, *, velocity: bool, steps: int, run: int,
           guidance_scale: float = 1.0) -> torch.Tensor:
    """Return the latents after the last ``run`` DDIM steps; like diffusers, sample the source latents too."""
    vae, draw, stride = generator.pipeline.vae, torch.Generator().manual_seed(seed), 1000 // steps
    with torch.no_grad():
        clean = vae.encode(_pixels(image)).latent_dist.sample(draw) * vae.config.scaling_factor
    noise = torch.randn(clean.shape, generator=draw)
    for t in range(1 + (run - 1) * stride, 0, -stride):  # offset by one as in Stable Diffusion
        latents = ALPHAS[t].sqrt() * clean + (1 - ALPHAS[t]).sqrt() * noise
        away, towards = (denoise(generator, latents, t, text, ALPHAS[t], velocity=velocity) for text in ("", prompt))
        clean, noise = (a + guidance_scale * (b - a) for a, b in zip(away, towards, strict=True))
    return ALPHAS[0].sqrt() * clean + (1 - ALPHAS[0]).sqrt() * noise


class Decoded:
    """Record the last latents decoded by the autoencoder."""

    def __init__(self, generator: Generator) -> None:
        vae = generator.pipeline.vae
        self._decode, self.latents = vae.decode, torch.zeros(0)
        self._scale = vae.config.scaling_factor
        vae.decode = self

    def __call__(self, latents: torch.Tensor, *args: Any, **options: Any) -> Any:
        self.latents = latents * self._scale
        return self._decode(latents, *args, **options)
