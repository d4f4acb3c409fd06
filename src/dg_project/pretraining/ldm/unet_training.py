"""Train the denoiser on InstructPix2Pix pairs of latents: clear source, same scene in captioned weather as target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline
from torch import Tensor, nn
from torchvision.transforms.v2 import ColorJitter
from tqdm.auto import tqdm

from dg_project.diffusion.prompts import paraphrase
from dg_project.pretraining.ldm.corpus import Group, box_weights, crop_corner
from dg_project.pretraining.ldm.stage import step_generator
from dg_project.pretraining.ldm.vae_training import encode

INSIDE_BOXES = 4.0
IDENTITY_SHARE = 0.1
TEXT_DROPOUT = 0.05
PURE_NOISE_SHARE = 0.4
FULL_FRAMES_EVERY = 4


@dataclass(frozen=True)
class LatentGroup:
    """Latents of one group; the second axis is the flip (0 original, 1 mirrored).

    Attributes:
        sources: ``(s, 2, C, h, w)``: the clear frame, then its colour-jittered versions.
        targets: ``(1 + n, 2, C, h, w)``: the clear frame, then the other weathers.
        captions: captions of the targets.
        weights: ``(2, h, w)`` loss weights, higher inside boxes.
        boxes: ``(m, 4)`` in latent cells, not mirrored.
    """

    sources: Tensor
    targets: Tensor
    captions: list[str]
    weights: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class PairBatch:
    """One batch: ``source`` and ``target`` ``(N, C, h, w)``, ``weights`` ``(N, 1, h, w)``, N ``prompts``."""

    source: Tensor
    target: Tensor
    weights: Tensor
    prompts: list[str]


def encode_corpus(vae: AutoencoderKL, groups: Sequence[Group], seed: int) -> list[LatentGroup]:
    """Encode every frame, a colour-jittered clear frame and their mirror images, so that training needs no VAE."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    jitter, encoded = ColorJitter(0.2, 0.2, 0.35, 0.02), []
    for index, group in enumerate(tqdm(groups, desc="encoding the corpus", unit="group")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_generator(seed, "shades", index).initial_seed())
            shade = jitter(group.clear)
        images = torch.cat([group.frames, shade[None]])
        latents = torch.stack([encode(vae, images), encode(vae, images.flip(-1))], 1)
        weights = box_weights(group, factor, INSIDE_BOXES)
        encoded.append(
            LatentGroup(
                latents[[0, -1]],
                latents[:-1],
                group.captions,
                torch.stack([weights, weights.flip(-1)]),
                group.boxes / factor,
            )
        )
    return encoded


def pair_sampler(
    groups: Sequence[LatentGroup], crop: tuple[int, int], batch_size: int
) -> Callable[[torch.Generator], PairBatch]:
    """Return a function generator -> batch.

    Most steps take ``batch_size`` crops. One in four takes full frames, fewer of them at the same cost, so that the
    lowest level also sees full image sizes.

    Args:
        groups: encoded corpus.
        crop: height and width in latent cells.
        batch_size: crops per step.
    """
    frame = (groups[0].sources.shape[-2], groups[0].sources.shape[-1])
    area = (frame[0] * frame[1]) / (crop[0] * crop[1])

    def sample(generator: torch.Generator) -> PairBatch:
        full_frames = int(torch.randint(FULL_FRAMES_EVERY, (), generator=generator)) == 0
        count = max(1, round(batch_size / area)) if full_frames else batch_size
        rows = [_pair(groups, frame if full_frames else crop, frame, generator) for _ in range(count)]
        sources, targets, weights, prompts = zip(*rows, strict=True)
        return PairBatch(torch.stack(sources), torch.stack(targets), torch.stack(weights)[:, None], list(prompts))

    return sample


def _pair(
    groups: Sequence[LatentGroup], crop: tuple[int, int], frame: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, str]:
    """Draw one (source, target, weights, prompt) from one group."""

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    group = groups[draw(len(groups))]
    identity = float(torch.rand((), generator=generator)) < IDENTITY_SHARE
    target, shade, flip = 0 if identity else 1 + draw(len(group.targets) - 1), draw(len(group.sources)), draw(2)
    wanted = group.sources[shade] if identity else group.targets[target]
    y, x = crop_corner(group.boxes, frame, crop, 1, generator)
    x = frame[1] - crop[1] - x if flip else x
    window = (..., slice(y, y + crop[0]), slice(x, x + crop[1]))
    prompt = paraphrase(group.captions[target], draw(2**31))
    if float(torch.rand((), generator=generator)) < TEXT_DROPOUT:
        prompt = ""
    return group.sources[shade, flip][window], wanted[flip][window], group.weights[flip][window], prompt


class Denoiser(nn.Module):
    """U-Net and text encoder, trained together."""

    def __init__(self, pipeline: StableDiffusionInstructPix2PixPipeline) -> None:
        super().__init__()
        self.unet = pipeline.unet
        self.text_encoder = pipeline.text_encoder
        self._tokenizer = pipeline.tokenizer

    def forward(self, noisy: Tensor, source: Tensor, timesteps: Tensor, prompts: list[str]) -> Tensor:
        """Return the predicted velocity ``(N, C, h, w)``."""
        return self.predict(noisy, source, timesteps, prompts)[0]

    def predict(self, noisy: Tensor, source: Tensor, timesteps: Tensor, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Return the predicted velocity ``(N, C, h, w)`` and the pooled prompts ``(N, text_dim)``."""
        tokens = self._tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        text = self.text_encoder(tokens.to(noisy.device))
        velocity = self.unet(torch.cat([noisy, source], 1), timesteps, encoder_hidden_states=text.last_hidden_state)
        return velocity.sample, text.pooler_output


def denoising_loss(
    denoiser: Denoiser, scheduler: DDIMScheduler, batch: PairBatch, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return ``mean w·‖v̂(z_t, t, z_source, text) − v‖²`` with ``v = √ᾱ_t ε − √(1−ᾱ_t) z_0``.

    Two images in five start at pure noise (zero SNR): only this first step decides how dark the image becomes, and
    with the few sampling steps of the bundled model it does most of the work.
    """
    device = next(denoiser.parameters()).device
    target, count = batch.target, len(batch.target)
    last = scheduler.config.num_train_timesteps - 1
    timesteps = torch.randint(last + 1, (count,), generator=generator)
    timesteps[torch.rand(count, generator=generator) < PURE_NOISE_SHARE] = last
    noise = torch.randn(target.shape, generator=generator)
    noisy = scheduler.add_noise(target, noise, timesteps).to(device)
    velocity = scheduler.get_velocity(target, noise, timesteps).to(device)
    predicted = denoiser(noisy, batch.source.to(device), timesteps.to(device), batch.prompts)
    error = (predicted - velocity).square()
    return {"loss_velocity": (batch.weights.to(device) * error).mean(), "log_unweighted": error.mean()}
