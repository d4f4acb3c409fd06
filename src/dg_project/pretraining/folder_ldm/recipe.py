"""Train one LDM: from the images of its source domains to a diffusers folder with its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image
from torch import Tensor

from dg_project.config import PretrainFolderLDMParams
from dg_project.core import torch_files
from dg_project.core.device import resolve_device
from dg_project.core.files import atomic_folder
from dg_project.diffusion.checkpoint import disable_progress_bars
from dg_project.diffusion.origin import Origin
from dg_project.pretraining.folder_ldm.autoencoder import open_autoencoder, train_autoencoder
from dg_project.pretraining.folder_ldm.card import model_card
from dg_project.pretraining.folder_ldm.denoiser import TextDenoiser, build_pipeline, caption_sampler, velocity_loss
from dg_project.pretraining.folder_ldm.measure import autoencoder_quality, measure
from dg_project.pretraining.folder_ldm.pictures import Pictures, choose, read_pictures
from dg_project.pretraining.folder_ldm.sheet import sample_sheet
from dg_project.pretraining.ldm.stage import Stage
from dg_project.pretraining.ldm.vae_training import encode

MODEL, SHEET, CARD = "model", "samples.png", "README.md"
LATENTS = "latents.pt"


@dataclass(frozen=True)
class Sources:
    """What one LDM may see.

    Attributes:
        rows: result of ``list_images``, of the source domains alone.
        root: folder that the image paths are relative to.
        held_out: domain left out, or None.
    """

    rows: pd.DataFrame
    root: Path
    held_out: str | None

    @property
    def domains(self) -> list[str]:
        """Names of the source domains."""
        return list(dict.fromkeys(self.rows["domain"]))

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return sorted(set(self.rows["class_name"]))


def pretrain(params: PretrainFolderLDMParams, sources: Sources, workdir: Path) -> Path:
    """Train autoencoder, then U-Net and text encoder; measure them and return the folder of the finished model.

    Everything is kept in ``workdir``: a call with the same arguments resumes from the last checkpoint, or returns the
    model at once.

    Args:
        params: sizes and steps.
        sources: images of the source domains.
        workdir: folder of checkpoints, latents, loss tables (``vae_losses.csv``, ``unet_losses.csv``) and the model.

    Raises:
        DataError: an image cannot be read.
        CheckpointError: the autoencoder to start from cannot be opened.
        TrainingError: a loss is not finite.
    """
    if (workdir / MODEL).is_dir():
        return workdir / MODEL
    if params.threads:
        torch.set_num_threads(params.threads)
    chosen, kept = choose(sources.rows, params.images_per_domain, params.seed)
    train, held = (read_pictures(rows, sources.root, params.size) for rows in (chosen, kept))
    vae = open_autoencoder(params, train).to(resolve_device(params.device), memory_format=torch.channels_last)
    figures = {"vae_before": autoencoder_quality(vae, held)}
    histories = {"vae": train_autoencoder(vae, params, train, workdir)}
    pipeline = build_pipeline(vae, params, sources.domains, sources.classes)
    for network in (pipeline.unet, pipeline.text_encoder):
        network.to(vae.device, memory_format=torch.channels_last)
    histories["unet"] = _train_unet(params, workdir, pipeline, train)
    figures |= measure(pipeline, train, held, params)
    sheet = sample_sheet(pipeline, held, params)
    origin = Origin(sources.domains, sources.held_out, sources.classes, params.captions)
    with atomic_folder(workdir / MODEL) as folder:
        _save(folder, pipeline, origin, model_card(params, origin, train, figures, histories), sheet)
    return workdir / MODEL


def _train_unet(params: PretrainFolderLDMParams, workdir: Path, pipeline: StableDiffusionImg2ImgPipeline,
                train: Pictures) -> pd.DataFrame:
    """Train U-Net and text encoder on the encoded pictures."""
    latents = _encode_once(workdir / LATENTS, pipeline, train)
    sample = caption_sampler(latents, train, params.captions, params.batch_size)
    denoiser = TextDenoiser(pipeline).train()

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        return velocity_loss(denoiser, pipeline.scheduler, sample(generator), generator)

    history = Stage("unet", denoiser, loss, params.unet_steps, params.lr, params.seed, params.checkpoint_every,
                    autocast=getattr(torch, params.unet_dtype)).train(workdir)
    denoiser.eval()
    return history


def _encode_once(path: Path, pipeline: StableDiffusionImg2ImgPipeline, train: Pictures) -> Tensor:
    """Return the latents ``(M, C, h, w)`` in half precision; the work folder belongs to one autoencoder."""
    if not path.exists():
        torch_files.save(encode(pipeline.vae, train.images).half(), path)
    return torch.load(path, weights_only=True)


def _save(folder: Path, pipeline: StableDiffusionImg2ImgPipeline, origin: Origin, card: str,
          sheet: Image.Image) -> None:
    """Save the pipeline in half precision, with its card, its sheet and what it has seen."""
    disable_progress_bars()
    pipeline.to(torch.float16).save_pretrained(folder)
    origin.write(folder)
    sheet.save(folder / SHEET)
    (folder / CARD).write_text(card)


def histories(workdirs: Sequence[tuple[str, Path]]) -> pd.DataFrame:
    """Return the losses of finished models by step, in columns ``<name>/<stage>/<loss>``."""
    stages = [pd.read_csv(folder / f"{stage}_losses.csv").set_index("step").add_prefix(f"{name}/{stage}/")
              for name, folder in workdirs for stage in ("vae", "unet")]
    return pd.concat(stages, axis=1).reset_index()
