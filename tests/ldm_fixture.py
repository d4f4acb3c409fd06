"""Genuine diffusers pipelines with random weights, built in seconds: the stand-in for a checkpoint in every test.

diffusers is imported inside the functions, so that tests which need no diffusion model start quickly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from diffusers import StableDiffusionInstructPix2PixPipeline

CAPTIONS = [
    "a clear street in daytime",
    "a foggy street in daytime",
    "a rainy street at dusk",
    "a dark street at night",
]


def _pipeline() -> StableDiffusionInstructPix2PixPipeline:
    from diffusers.utils import logging

    from dg_project.diffusion.tiny.architecture import build_pipeline
    from dg_project.parameters import PretrainLDMParams

    logging.disable_progress_bar()
    return build_pipeline(
        PretrainLDMParams(vae_channels=(12, 48, 16), unet_channels=[8, 16], text_dim=16, latent_channels=4), CAPTIONS
    )


def build_instruct(folder: Path) -> Path:
    """Write an InstructPix2Pix pipeline (source latents beside the noisy ones), as the embedded tiny LDM is."""
    _pipeline().save_pretrained(folder)
    return folder


def build_img2img(folder: Path) -> Path:
    """Write an image-to-image pipeline, as Stable Diffusion is."""
    from diffusers import StableDiffusionImg2ImgPipeline

    parts = _pipeline().components
    channels = {"in_channels": parts["vae"].config.latent_channels}
    parts["unet"] = type(parts["unet"]).from_config({**parts["unet"].config, **channels})
    kept = {name: parts[name] for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    StableDiffusionImg2ImgPipeline(
        **kept, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_ldm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random-weight InstructPix2Pix pipeline (VAE factor 4; image sides padded to multiples of 8)."""
    return build_instruct(tmp_path_factory.mktemp("tiny_ldm"))
