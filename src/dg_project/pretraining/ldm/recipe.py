"""Train the tiny LDM: from a captioned corpus to a diffusers folder with its model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from dg_project.config import PretrainLDMParams
from dg_project.core import torch_files
from dg_project.core.device import resolve_device
from dg_project.core.errors import DataError
from dg_project.core.files import FolderWriter, atomic_file, fingerprint
from dg_project.diffusion.checkpoint import disable_progress_bars
from dg_project.diffusion.generator import Generator
from dg_project.diffusion.prompts import paraphrase
from dg_project.pretraining.ldm.architecture import build_pipeline
from dg_project.pretraining.ldm.card import model_card
from dg_project.pretraining.ldm.corpus import Group, hold_out, read_corpus
from dg_project.pretraining.ldm.critic import Critic, Duel
from dg_project.pretraining.ldm.linear_start import BATCH_SIZE, start_linear
from dg_project.pretraining.ldm.measure import measure
from dg_project.pretraining.ldm.quality import FindObjects, contact_sheet
from dg_project.pretraining.ldm.stage import Stage, step_generator
from dg_project.pretraining.ldm.unet_training import (
    Denoiser,
    LatentGroup,
    PairBatch,
    denoising_loss,
    encode_corpus,
    pair_sampler,
)
from dg_project.pretraining.ldm.vae_training import crop_sampler, decode, encode, normalise_latents, vae_losses

SHEET_PROMPTS = (
    "a city street at night, clear sky",
    "a city street at dusk in rain, wet road",
    "a city street at night in heavy rain, wet road",
    "a city street during the day in fog",
)
SHEET_EVERY = 5
NORMALISE_WITH = 200


def pretrain(params: PretrainLDMParams, workdir: Path, find_objects: FindObjects | None = None) -> FolderWriter:
    """Train the autoencoder, then U-Net and text encoder, then both against a critic; measure the result.

    Intermediate results are kept in ``workdir``; a call with the same arguments resumes from the last checkpoint.

    Args:
        params: sizes, steps and corpus.
        workdir: folder of the checkpoints, the encoded corpus, loss tables and sample sheets.
        find_objects: oracle detector for the model card; None skips the recall of boxes.

    Returns:
        A function that writes the pipeline and its card to a folder.

    Raises:
        DataError: the corpus is missing or broken.
        TrainingError: a loss is not finite.
    """
    if params.threads:
        torch.set_num_threads(params.threads)
    device = resolve_device(params.device)
    train, held = hold_out(read_corpus(Path(params.corpus)))
    captions = sorted({caption for group in train for caption in group.captions})
    pipeline = build_pipeline(params, [paraphrase(c, seed) for c in captions for seed in range(8)])
    if params.start:
        _load_weights(pipeline, Path(params.start))
    for network in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        network.to(device, memory_format=torch.channels_last)
    histories = {} if params.start else {"vae": _train_vae(params, workdir, pipeline.vae, train, held or train)}
    encoded = _encode_or_read(params, workdir, pipeline.vae, train)
    if not params.start:
        histories["unet"] = _train_unet(params, workdir, pipeline, encoded, held or train)
    if params.critic_steps:
        histories["critic"] = _train_critic(params, workdir, pipeline, encoded, held or train)
    figures = measure(pipeline, train, held or train, find_objects)
    return lambda folder: _write(folder, pipeline, model_card(params, figures, histories, len(train)))


def _load_weights(pipeline: StableDiffusionInstructPix2PixPipeline, folder: Path) -> None:
    """Load the weights of an earlier run into a pipeline.

    Raises:
        DataError: the folder has no weights, or their sizes or vocabulary differ.
    """
    if not (folder / "model_index.json").is_file():
        raise DataError(f"'pretrain_ldm.start': '{folder}' has no model_index.json; set a folder written "
                        "by `kedro run --pipeline=pretrain_ldm`, such as data/06_models/tiny_ldm")
    disable_progress_bars()
    earlier = StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, safety_checker=None)
    if earlier.tokenizer.get_vocab() != pipeline.tokenizer.get_vocab():
        raise DataError(f"'pretrain_ldm.start': the words of '{folder}' are not those of the captions in "
                        "'pretrain_ldm.corpus'; set the corpus it was trained on")
    for name in ("vae", "unet", "text_encoder"):
        try:
            getattr(pipeline, name).load_state_dict(getattr(earlier, name).state_dict())
        except RuntimeError as error:
            raise DataError(f"'pretrain_ldm.start': the {name} of '{folder}' has other sizes than the parameters "
                            "'pretrain_ldm'; set the parameters it was trained with") from error
    pipeline.vae.requires_grad_(False)


def _train_vae(
    params: PretrainLDMParams, workdir: Path, vae: AutoencoderKL, train: list[Group], held: list[Group]
) -> pd.DataFrame:
    """Train the autoencoder from a linear initialisation and normalise its latents."""
    sample = crop_sampler(train, params.vae_crop, params.vae_batch_size)
    pictures = torch.stack([group.clear for group in held[:3]] + [group.weathers[0] for group in held[:3]])

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        images, weights = (x.to(vae.device, memory_format=torch.channels_last) for x in sample(generator))
        return vae_losses(vae, images, weights, generator)

    def sheet(step: int) -> None:
        if step % (SHEET_EVERY * params.checkpoint_every) == 0 or step == params.vae_steps:
            rows = list(zip(pictures, decode(vae, encode(vae, pictures)), strict=True))
            _save_sheet(workdir / f"vae_{step:06d}.png", rows, ["held-out frame", "through the autoencoder"], 320)

    if not (workdir / "vae.pt").exists():
        crops = crop_sampler(train, params.vae_crop, BATCH_SIZE)
        start_linear(vae, lambda step: crops(step_generator(params.seed, "linear", step))[0], params.linear_steps,
                     params.seed)
    history = Stage(
        "vae", vae, loss, params.vae_steps, params.vae_lr, params.seed, params.checkpoint_every, sheet
    ).train(workdir)
    vae.requires_grad_(False)
    frames = torch.cat([group.frames for group in train])
    normalise_latents(vae, frames[:: max(1, len(frames) // NORMALISE_WITH)])
    return history


def _encode_or_read(
    params: PretrainLDMParams, workdir: Path, vae: AutoencoderKL, train: list[Group]
) -> list[LatentGroup]:
    """Return the encoded corpus, from the workdir if it was encoded before with the same weights and seed."""
    weights = float(sum(p.double().abs().sum() for p in vae.parameters()))
    path = workdir / f"latents-{fingerprint([g.name for g in train], weights, params.seed)}.pt"
    if not path.exists():
        groups = encode_corpus(vae, train, params.seed)
        torch_files.save([vars(group) for group in groups], path)
    return [LatentGroup(**group) for group in torch.load(path, weights_only=True)]


def _train_unet(
    params: PretrainLDMParams,
    workdir: Path,
    pipeline: StableDiffusionInstructPix2PixPipeline,
    encoded: list[LatentGroup],
    held: list[Group],
) -> pd.DataFrame:
    """Train U-Net and text encoder together."""
    sample, denoiser = _pair_sampler(params, encoded), Denoiser(pipeline)

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        return denoising_loss(denoiser, pipeline.scheduler, sample(generator), generator)

    stage = Stage("unet", denoiser, loss, params.unet_steps, params.lr, params.seed, params.checkpoint_every,
                  autocast=getattr(torch, params.unet_dtype))
    return _train_with_sheets(stage, workdir, pipeline, held, 2)


def _train_critic(
    params: PretrainLDMParams,
    workdir: Path,
    pipeline: StableDiffusionInstructPix2PixPipeline,
    encoded: list[LatentGroup],
    held: list[Group],
) -> pd.DataFrame:
    """Train U-Net and text encoder against a critic."""
    sample = _pair_sampler(params, encoded)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        critic = Critic(params.latent_channels, params.text_dim)
    critic.to(pipeline.device)
    duel = Duel(Denoiser(pipeline), critic, pipeline.scheduler, params.critic_weight)
    duel.to(memory_format=torch.channels_last)
    stage = Stage("critic", duel, lambda generator: duel.losses(sample(generator), generator), params.critic_steps,
                  params.critic_lr, params.seed, params.checkpoint_every,
                  autocast=getattr(torch, params.unet_dtype), momentum=0.5, faster={"critic": 2.0})
    return _train_with_sheets(stage, workdir, pipeline, held, 1)


def _pair_sampler(params: PretrainLDMParams, encoded: list[LatentGroup]) -> Callable[[torch.Generator], PairBatch]:
    """Return the batch sampler of both denoiser stages."""
    factor = 2 ** (len(params.vae_channels) - 1)
    return pair_sampler(encoded, (params.crop[0] // factor, params.crop[1] // factor), params.batch_size)


def _train_with_sheets(stage: Stage, workdir: Path, pipeline: StableDiffusionInstructPix2PixPipeline,
                       held: list[Group], sampling_steps: int) -> pd.DataFrame:
    """Train a denoiser stage and save sample sheets of held-out frames at some of its checkpoints."""

    def sheet(step: int) -> None:
        if step % (SHEET_EVERY * stage.checkpoint_every) == 0 or step == stage.steps:
            stage.modules.eval()
            spread = held[:: max(1, len(held) // 4)][:4]
            rows, heads = sample_rows(pipeline, spread, SHEET_PROMPTS, sampling_steps)
            _save_sheet(workdir / f"{stage.name}_{step:06d}.png", rows, heads)
            stage.modules.train()

    stage.modules.train()
    history = replace(stage, on_checkpoint=sheet).train(workdir)
    stage.modules.eval()
    return history


def sample_rows(
    pipeline: StableDiffusionInstructPix2PixPipeline, groups: Sequence[Group], prompts: Sequence[str], steps: int
) -> tuple[list[list[Tensor]], list[str]]:
    """Return the rows (source, one generated image per prompt) and column headers of a contact sheet."""
    generator, rows = Generator(pipeline, "in training"), []
    for number, group in enumerate(groups):
        made = generator.generate([group.clear] * len(prompts), prompts, [number] * len(prompts), steps=steps)
        rows.append([group.clear, *(pil_to_tensor(image) for image in made)])
    return rows, ["source", *(prompt.replace(" in ", "\nin ", 1) for prompt in prompts)]


def _save_sheet(path: Path, rows: list, heads: list[str], width: int = 240) -> None:
    with atomic_file(path) as aside:
        contact_sheet(rows, heads, width).save(aside)


def _write(folder: Path, pipeline: StableDiffusionInstructPix2PixPipeline, card: str) -> None:
    """Save the pipeline in half precision, and its card."""
    disable_progress_bars()
    pipeline.to(torch.float16).save_pretrained(folder)
    pipeline.to(torch.float32)
    (folder / "README.md").write_text(card)
