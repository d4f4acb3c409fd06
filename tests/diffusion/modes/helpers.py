"""What the tests of the modes share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dg_project.diffusion.generator import Generator
from dg_project.parameters import LDMParams

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


def latents_of(generator: Generator, image: Image.Image) -> torch.Tensor:
    """Encode an image as the checkpoint's own autoencoder does, independently of the project's code."""
    vae = generator.pipeline.vae
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        return vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor


class Decoded:
    """Spy on the autoencoder: the last latents that were decoded."""

    def __init__(self, generator: Generator) -> None:
        vae = generator.pipeline.vae
        self._decode, self.latents = vae.decode, torch.zeros(0)
        self._scale = vae.config.scaling_factor
        vae.decode = self

    def __call__(self, latents: torch.Tensor, *args: Any, **options: Any) -> Any:
        self.latents = latents * self._scale
        return self._decode(latents, *args, **options)
