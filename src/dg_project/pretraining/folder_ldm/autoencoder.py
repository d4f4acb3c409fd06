"""Start the autoencoder from a trained one or from a linear fit, and fine-tune it on pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from dg_project.config import PretrainFolderLDMParams
from dg_project.core.errors import CheckpointError
from dg_project.pretraining.folder_ldm.pictures import Pictures
from dg_project.pretraining.ldm.architecture import build_vae
from dg_project.pretraining.ldm.linear_start import BATCH_SIZE, start_linear
from dg_project.pretraining.ldm.stage import Stage, step_generator
from dg_project.pretraining.ldm.vae_training import normalise_latents, vae_losses

NORMALISE_WITH = 200


def open_autoencoder(params: PretrainFolderLDMParams, pictures: Pictures) -> AutoencoderKL:
    """Return the autoencoder before its fine-tuning: that of ``vae_start``, or the best linear one.

    Raises:
        CheckpointError: ``vae_start`` has no autoencoder, or one with scaled latents.
    """
    if params.vae_start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.seed)
            vae = build_vae(params.vae_channels, params.latent_channels)
        crops = crop_sampler(pictures, params.vae_crop, BATCH_SIZE)
        start_linear(vae, lambda step: crops(step_generator(params.seed, "linear", step)), params.linear_steps,
                     params.seed)
        return vae
    folder = Path(params.vae_start)
    try:
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", local_files_only=True, torch_dtype=torch.float32)
    except Exception as error:
        raise CheckpointError(f"pretrain_folder_ldm.vae_start: '{folder}' has no autoencoder that diffusers can open "
                              "(vae/config.json and weights); name the folder of an LDM such as data/06_models/tiny_ldm"
                              ", or null to train one from scratch") from error
    if vae.config.scaling_factor != 1 or vae.quant_conv is None:
        raise CheckpointError(f"pretrain_folder_ldm.vae_start: the latents of '{folder}' are scaled by "
                              f"{vae.config.scaling_factor}; name an LDM that this project trained, or null")
    return vae


def train_autoencoder(vae: AutoencoderKL, params: PretrainFolderLDMParams, pictures: Pictures,
                      workdir: Path) -> pd.DataFrame:
    """Fine-tune an autoencoder on crops, normalise its latents and freeze it; return the losses by step."""
    crops = crop_sampler(pictures, params.vae_crop, params.vae_batch_size)

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        images = crops(generator).to(vae.device, memory_format=torch.channels_last)
        return vae_losses(vae, images, torch.ones_like(images[:, :1]), generator)

    history = Stage("vae", vae, loss, params.vae_steps, params.vae_lr, params.seed,
                    params.checkpoint_every).train(workdir)
    vae.requires_grad_(False)
    normalise_latents(vae, pictures.images[:: max(1, len(pictures) // NORMALISE_WITH)])
    return history


def crop_sampler(pictures: Pictures, crop: int, batch_size: int) -> Callable[[torch.Generator], Tensor]:
    """Return a function generator -> images ``(N, 3, crop, crop)`` in -1..1, every domain equally likely."""
    pools = [pictures.rows(domain) for domain in dict.fromkeys(pictures.domains)]
    room = pictures.images.shape[-1] - crop + 1

    def sample(generator: torch.Generator) -> Tensor:
        def draw(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        images = []
        for _ in range(batch_size):
            pool = pools[draw(len(pools))]
            picture, y, x = pictures.images[pool[draw(len(pool))]], draw(room), draw(room)
            images.append(picture[:, y:y + crop, x:x + crop].flip([-1] if draw(2) else []))
        return torch.stack(images) / 127.5 - 1

    return sample
