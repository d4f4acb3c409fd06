"""Locate diffusion checkpoints and read their JSON files, without loading weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from dg_project.core.errors import CheckpointError

REMEDY = (
    "'ldm.checkpoint' must be a folder written by diffusers' save_pretrained (it holds a model_index.json) or the "
    "name of one on the hub"
)
CLASSES: dict[str, tuple[str, str]] = {
    "StableDiffusionPipeline": ("sd", "img2img"),
    "StableDiffusionImg2ImgPipeline": ("sd", "img2img"),
    "StableDiffusionInpaintPipeline": ("sd", "inpaint"),
    "StableDiffusionInstructPix2PixPipeline": ("sd", "instruct"),
    "StableDiffusionControlNetPipeline": ("sd", "controlnet"),
    "StableDiffusionControlNetImg2ImgPipeline": ("sd", "controlnet"),
    "LatentConsistencyModelPipeline": ("sd", "img2img"),
    "LatentConsistencyModelImg2ImgPipeline": ("sd", "img2img"),
    "StableDiffusionXLPipeline": ("sdxl", "img2img"),
    "StableDiffusionXLImg2ImgPipeline": ("sdxl", "img2img"),
    "StableDiffusionXLInpaintPipeline": ("sdxl", "inpaint"),
    "StableDiffusionXLInstructPix2PixPipeline": ("sdxl", "instruct"),
    "StableDiffusionXLControlNetPipeline": ("sdxl", "controlnet"),
    "StableDiffusionXLControlNetImg2ImgPipeline": ("sdxl", "controlnet"),
}
"""Class in model_index.json -> family of the parts, mode the checkpoint was made for."""
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that no mode loads."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete diffusers folder.

    Attributes:
        folder: path of the folder.
        family: sd or sdxl.
        mode: mode the checkpoint was made for.
        image_channels: channels of its latents.
        unet_channels: input channels of its U-Net.
        text_width: width of the text embeddings its U-Net takes.
    """

    folder: Path
    family: str
    mode: str
    image_channels: int
    unet_channels: int
    text_width: int


def resolve(name: str | Path, variant: str | None = None) -> Path:
    """Return the local folder of a checkpoint, downloading a hub name.

    Raises:
        CheckpointError: the folder does not exist or holds no diffusers pipeline, or the hub cannot be reached.
    """
    folder = Path(name)
    if (folder / "model_index.json").is_file():
        return folder
    if folder.exists():
        inside = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) if folder.is_dir() else "one file"
        raise CheckpointError(
            f"'{name}' is not a diffusers pipeline: model_index.json is missing (found: "
            f"{inside or 'nothing'}). {REMEDY}"
        )
    if not is_hub_name(name):
        raise CheckpointError(f"the diffusion checkpoint '{name}' does not exist. {REMEDY}")
    disable_progress_bars()
    try:
        return Path(DiffusionPipeline.download(str(name), variant=variant))
    except Exception as error:
        raise CheckpointError(
            f"the diffusion checkpoint '{name}' is not a local folder, nor could it be downloaded from the hub "
            f"({type(error).__name__}). {REMEDY}"
        ) from error


def is_hub_name(name: str | Path) -> bool:
    """Return whether a name may be ``owner/model`` on the hub."""
    return str(name).count("/") == 1 and not str(name).startswith((".", "/", "~", "data/"))


def read(folder: Path) -> Checkpoint:
    """Read the JSON files of a checkpoint folder.

    Raises:
        CheckpointError: its JSON cannot be read, a part is missing, or no mode can use its class.
    """
    index = read_json(folder / "model_index.json", folder)
    name = str(index.get("_class_name"))
    if name not in CLASSES:
        raise CheckpointError(
            f"'{folder}' is a {name}, which this project cannot run; it runs {', '.join(CLASSES)}. {REMEDY}"
        )
    _check_parts(folder, index)
    unet = read_json(folder / "unet" / "config.json", folder)
    vae = read_json(folder / "vae" / "config.json", folder)
    family, mode = CLASSES[name]
    return Checkpoint(
        folder, family, mode, vae.get("latent_channels", 4), unet.get("in_channels", 4), text_width(unet)
    )


def text_width(config: dict[str, Any]) -> int:
    """Return the width of the text embeddings that a U-Net or ControlNet with this configuration takes."""
    width = config.get("cross_attention_dim") or 0
    return int(width[0] if isinstance(width, list) else width)


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """Return a JSON file of a checkpoint folder.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"'{folder}' cannot be opened: {path.relative_to(folder)} is missing or not JSON ({error}). {REMEDY}"
        ) from error


def disable_progress_bars() -> None:
    """Disable the progress bars of diffusers and transformers for every file they read or write."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def _check_parts(folder: Path, index: dict[str, Any]) -> None:
    """Check that every part in the index is a folder and that no required part is missing."""
    parts = [name for name, kind in index.items() if isinstance(kind, list) and kind[-1] and name not in UNUSED]
    for name in parts:
        if not (folder / name).is_dir() or not any((folder / name).iterdir()):
            raise CheckpointError(
                f"'{folder}' cannot be opened: its model_index.json names the part '{name}', but there is no such "
                f"folder, or it is empty; copy the complete checkpoint. {REMEDY}"
            )
    for name, either in {
        "text encoder": {"text_encoder", "text_encoder_2"},
        "U-Net": {"unet"},
        "autoencoder": {"vae"},
        "scheduler": {"scheduler"},
    }.items():
        if not either & set(parts):
            raise CheckpointError(f"'{folder}' cannot be opened: it has no {name}. {REMEDY}")
