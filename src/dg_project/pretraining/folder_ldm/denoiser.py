"""Train U-Net and text encoder together on latents and captions, without source latents: plain Stable Diffusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline
from torch import Tensor, nn

from dg_project.config import PretrainFolderLDMParams
from dg_project.diffusion.captions import caption, every
from dg_project.pretraining.folder_ldm.pictures import Pictures
from dg_project.pretraining.ldm.architecture import build_scheduler, build_text_encoder, build_tokenizer, build_unet

TEXT_DROPOUT = 0.1
"""Share of the rows without a caption, so that guidance works and an empty prompt means any source picture."""


@dataclass(frozen=True)
class Captioned:
    """A batch: latents ``(N, C, h, w)`` and one caption each."""

    latents: Tensor
    captions: list[str]


def build_pipeline(vae: AutoencoderKL, params: PretrainFolderLDMParams, domains: Sequence[str],
                   classes: Sequence[str]) -> StableDiffusionImg2ImgPipeline:
    """Return the pipeline with a random U-Net and text encoder from ``params.seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        tokenizer = build_tokenizer(every(params.captions, domains, classes), fixed=True)
        return StableDiffusionImg2ImgPipeline(
            vae=vae,
            text_encoder=build_text_encoder(tokenizer, params.text_dim),
            tokenizer=tokenizer,
            unet=build_unet(params.unet_channels, vae.config.latent_channels, params.text_dim, sees_source=False),
            scheduler=DDIMScheduler.from_config(build_scheduler().config, steps_offset=1),  # as the pipeline asks for
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


class TextDenoiser(nn.Module):
    """U-Net and text encoder, trained together."""

    def __init__(self, pipeline: StableDiffusionImg2ImgPipeline) -> None:
        super().__init__()
        self.unet, self.text_encoder = pipeline.unet, pipeline.text_encoder
        self._tokenizer = pipeline.tokenizer

    def forward(self, noisy: Tensor, timesteps: Tensor, captions: list[str]) -> Tensor:
        """Return the predicted velocity ``(N, C, h, w)``."""
        tokens = self._tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        text = self.text_encoder(tokens.to(noisy.device)).last_hidden_state
        velocity: Tensor = self.unet(noisy, timesteps, encoder_hidden_states=text).sample
        return velocity


def velocity_loss(denoiser: nn.Module, scheduler: DDIMScheduler, batch: Captioned,
                  generator: torch.Generator) -> dict[str, Tensor]:
    """Return ``mean ‖v̂(z_t, t, caption) − v‖²``, ``v = √ᾱ_t ε − √(1−ᾱ_t) z_0``, with t uniform over the schedule."""
    device = next(denoiser.parameters()).device
    timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(batch.latents),), generator=generator)
    noise = torch.randn(batch.latents.shape, generator=generator)
    noisy = scheduler.add_noise(batch.latents, noise, timesteps).to(device)
    velocity = scheduler.get_velocity(batch.latents, noise, timesteps).to(device)
    predicted = denoiser(noisy, timesteps.to(device), batch.captions)
    return {"loss_velocity": (predicted - velocity).square().mean()}


def caption_sampler(latents: Tensor, pictures: Pictures, templates: Sequence[str],
                    batch_size: int) -> Callable[[torch.Generator], Captioned]:
    """Return a function generator -> batch: every domain and every template equally likely, some captions empty.

    Args:
        latents: ``(M, C, h, w)``.
        pictures: names of the M pictures.
        templates: caption templates.
        batch_size: rows per step.
    """
    pools = [pictures.rows(domain) for domain in dict.fromkeys(pictures.domains)]

    def sample(generator: torch.Generator) -> Captioned:
        def draw(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        rows, captions = [], []
        for _ in range(batch_size):
            pool = pools[draw(len(pools))]
            row, template = pool[draw(len(pool))], templates[draw(len(templates))]
            rows.append(latents[row].float())
            empty = float(torch.rand((), generator=generator)) < TEXT_DROPOUT
            captions.append("" if empty else caption(template, pictures.domains[row], pictures.classes[row]))
        return Captioned(torch.stack(rows), captions)

    return sample
