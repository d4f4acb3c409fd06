"""Genuine diffusers pipelines with random weights, built in seconds: the stand-in for a checkpoint in every test.

diffusers is imported inside the functions, so that tests which need no diffusion model start quickly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from diffusers import StableDiffusionInstructPix2PixPipeline

CAPTIONS = [
    "a clear street in daytime",
    "a foggy street in daytime",
    "a rainy street at dusk",
    "a dark street at night",
]


TEXT_WIDTH = 16


def _pipeline() -> StableDiffusionInstructPix2PixPipeline:
    from diffusers.utils import logging

    from dg_project.diffusion.tiny.architecture import build_pipeline
    from dg_project.parameters import PretrainLDMParams

    logging.disable_progress_bar()
    sizes = PretrainLDMParams(vae_channels=[8, 8, 16], unet_channels=[8, 16], text_dim=TEXT_WIDTH, latent_channels=4)
    return build_pipeline(sizes, CAPTIONS)


def build_instruct(folder: Path) -> Path:
    """Write an InstructPix2Pix pipeline (source latents beside the noisy ones), as the embedded tiny LDM is."""
    _pipeline().save_pretrained(folder)
    return folder


def build_img2img(folder: Path) -> Path:
    """Write an image-to-image pipeline, as Stable Diffusion is."""
    from diffusers import StableDiffusionImg2ImgPipeline

    StableDiffusionImg2ImgPipeline(**_sd_parts(4)).save_pretrained(folder)
    return folder


def build_inpaint(folder: Path) -> Path:
    """Write a pipeline that was trained to inpaint: latents, mask and masked source go into its U-Net."""
    from diffusers import StableDiffusionInpaintPipeline

    StableDiffusionInpaintPipeline(**_sd_parts(9)).save_pretrained(folder)
    return folder


def build_sdxl(folder: Path) -> Path:
    """Write an image-to-image pipeline as SDXL is: two text encoders, the sizes of the image beside the time."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline
    from transformers import CLIPTextModelWithProjection

    parts = _pipeline().components
    torch.manual_seed(0)
    config = parts["text_encoder"].config
    StableDiffusionXLImg2ImgPipeline(
        vae=parts["vae"],
        text_encoder=parts["text_encoder"],
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer=parts["tokenizer"],
        tokenizer_2=parts["tokenizer"],
        unet=_unet(4, 2 * TEXT_WIDTH, addition_embed_type="text_time", addition_time_embed_dim=8,
                   projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1),
    ).save_pretrained(folder)
    return folder


def build_controlnet(folder: Path, text_width: int = TEXT_WIDTH) -> Path:
    """Write a ControlNet for ``build_img2img``; trained ones have no zeros where this one would begin with them."""
    import torch
    from diffusers import ControlNetModel

    torch.manual_seed(1)
    net = ControlNetModel.from_unet(_unet(4, text_width), conditioning_embedding_out_channels=(8, 8, 16))
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.3)
    net.save_pretrained(folder)
    return folder


def _sd_parts(in_channels: int) -> dict[str, Any]:
    """Parts of a Stable Diffusion pipeline with random weights, and its noise schedule."""
    from diffusers import PNDMScheduler

    parts = _pipeline().components
    return {
        **{name: parts[name] for name in ("vae", "text_encoder", "tokenizer")},
        "unet": _unet(in_channels, TEXT_WIDTH),
        "scheduler": PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                                   skip_prk_steps=True),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _unet(in_channels: int, text_width: int, **options: Any) -> Any:
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, in_channels=in_channels, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text_width, attention_head_dim=8, norm_num_groups=8, **options)


@pytest.fixture(scope="session")
def tiny_ldm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random-weight InstructPix2Pix pipeline (VAE factor 4; image sides padded to multiples of 8)."""
    return build_instruct(tmp_path_factory.mktemp("tiny_ldm"))
