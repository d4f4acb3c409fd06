"""Small diffusers pipelines with random weights, used as checkpoints in tests.

diffusers is imported inside the functions, so that other tests start quickly.
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
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def _pipeline() -> StableDiffusionInstructPix2PixPipeline:
    from diffusers.utils import logging

    from dg_project.config import PretrainLDMParams
    from dg_project.pretraining.ldm.architecture import build_pipeline

    logging.disable_progress_bar()
    sizes = PretrainLDMParams(vae_channels=(12, 48, 16), unet_channels=[8, 16], text_dim=TEXT_WIDTH, latent_channels=4)
    return build_pipeline(sizes, CAPTIONS)


def build_instruct(folder: Path) -> Path:
    """Write an InstructPix2Pix pipeline (U-Net input: noisy and source latents), like the bundled tiny LDM."""
    _pipeline().save_pretrained(folder)
    return folder


def build_img2img(folder: Path) -> Path:
    """Write an image-to-image pipeline like Stable Diffusion."""
    return build_sd(folder, "StableDiffusionImg2ImgPipeline")


def build_sd(folder: Path, kind: str, in_channels: int = 4, **more: Any) -> Path:
    """Write a pipeline of Stable Diffusion's architecture with its noise schedule.

    Args:
        folder: where.
        kind: diffusers class.
        in_channels: of the U-Net: 4, 8 (InstructPix2Pix) or 9 (inpainting).
        **more: further parts, or others than these.
    """
    import diffusers

    parts = _pipeline().components
    shared = {name: parts[name] for name in ("vae", "text_encoder", "tokenizer")}
    own = {"unet": build_unet(in_channels), "scheduler": diffusers.PNDMScheduler(skip_prk_steps=True, **SCHEDULE)}
    getattr(diffusers, kind)(
        **shared, **{**own, **more}, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def build_v_prediction(folder: Path) -> Path:
    """Write a pipeline like Stable Diffusion 2.1 (768): velocity prediction, attention in float32."""
    import diffusers

    return build_sd(
        folder, "StableDiffusionPipeline", unet=build_unet(4, use_linear_projection=True, upcast_attention=True),
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False,
                                          **SCHEDULE))


def build_sdxl(folder: Path, kind: str = "StableDiffusionXLImg2ImgPipeline", in_channels: int = 4) -> Path:
    """Write a pipeline of SDXL's architecture: two text encoders, image sizes as extra conditions."""
    import diffusers
    import torch
    from transformers import CLIPTextModelWithProjection

    parts = _pipeline().components
    torch.manual_seed(0)
    getattr(diffusers, kind)(
        vae=parts["vae"], text_encoder=parts["text_encoder"], tokenizer=parts["tokenizer"],
        text_encoder_2=CLIPTextModelWithProjection(parts["text_encoder"].config), tokenizer_2=parts["tokenizer"],
        unet=build_unet(in_channels, xl=True), scheduler=diffusers.EulerDiscreteScheduler(**SCHEDULE),
    ).save_pretrained(folder)
    return folder


def build_controlnet(folder: Path, xl: bool = False) -> Path:
    """Write a ControlNet for ``build_sd`` or ``build_sdxl`` with random instead of zero output layers."""
    import torch
    from diffusers import ControlNetModel

    net = ControlNetModel.from_unet(build_unet(4, xl), conditioning_embedding_out_channels=(8, 8, 16))
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.3)
    net.save_pretrained(folder)
    return folder


def build_unet(in_channels: int, xl: bool = False, **more: Any) -> Any:
    """Return a random U-Net with text at its lowest level; ``more`` are options of diffusers."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
             "projection_class_embeddings_input_dim": 6 * 8 + TEXT_WIDTH} if xl else {}
    return UNet2DConditionModel(
        sample_size=8, in_channels=in_channels, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH * (1 + xl), attention_head_dim=8, norm_num_groups=8, **sizes,
        **more)


@pytest.fixture(scope="session")
def tiny_ldm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random-weight InstructPix2Pix pipeline (VAE factor 4; image sides padded to multiples of 8)."""
    return build_instruct(tmp_path_factory.mktemp("tiny_ldm"))


@pytest.fixture(scope="session")
def tiny_v_prediction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random-weight Stable Diffusion with v-prediction, like 2.1 (768)."""
    return build_v_prediction(tmp_path_factory.mktemp("tiny_v_prediction"))


@pytest.fixture(scope="session")
def tiny_img2img(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random-weight Stable Diffusion img2img pipeline."""
    return build_img2img(tmp_path_factory.mktemp("tiny_img2img"))


@pytest.fixture(scope="session")
def tiny_inpaint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Stable Diffusion made for inpainting, with nine channels."""
    return build_sd(tmp_path_factory.mktemp("tiny_inpaint"), "StableDiffusionInpaintPipeline", 9)


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an SDXL img2img pipeline, two text encoders."""
    return build_sdxl(tmp_path_factory.mktemp("tiny_sdxl"))


@pytest.fixture(scope="session")
def tiny_sdxl_instruct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an SDXL InstructPix2Pix pipeline."""
    return build_sdxl(tmp_path_factory.mktemp("tiny_sdxl_instruct"), "StableDiffusionXLInstructPix2PixPipeline", 8)


@pytest.fixture(scope="session")
def tiny_controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ControlNet for ``tiny_img2img``."""
    return build_controlnet(tmp_path_factory.mktemp("tiny_controlnet"))


@pytest.fixture(scope="session")
def tiny_sdxl_controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ControlNet for ``tiny_sdxl``."""
    return build_controlnet(tmp_path_factory.mktemp("tiny_sdxl_controlnet"), xl=True)
