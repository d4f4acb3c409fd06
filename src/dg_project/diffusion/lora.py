"""Merge LoRA weights into a pipeline: ``W + scale · alpha / rank · B A``, at no extra sampling cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
from diffusers.utils.state_dict_utils import StateDictType, convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dg_project.config import LoRAParams
from dg_project.core.errors import CheckpointError
from dg_project.diffusion.checkpoint import is_hub_name

REMEDY = "'ldm.loras' must be LoRA weights trained for the architecture of 'ldm.checkpoint'"
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
PARTS = ("unet", "text_encoder", "text_encoder_2")
PATTERNS = ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora")
"""Metadata keys of LoRAs whose layers have different scales."""


def merge(pipeline: Any, lora: LoRAParams) -> dict[str, Tensor]:
    """Add a LoRA to the weights of the pipeline's networks.

    diffusers reads and renames the usual formats (its own, PEFT's, kohya's); the sum is computed here, so the package
    ``peft`` is not needed.

    Returns:
        The LoRA's tensors by name.

    Raises:
        CheckpointError: the weights cannot be read, are of another kind or belong to another architecture.
    """
    tensors, alphas = _read(pipeline, lora)
    for path, weight, down, up in list(_layers(pipeline, tensors, lora)):
        rank = len(down)
        factor = lora.scale * alphas.get(path, rank) / rank
        change = factor * (up.flatten(1).float() @ down.flatten(1).float()).reshape(weight.shape)
        with torch.no_grad():
            weight.copy_((weight.float() + change).to(weight.dtype))
    return tensors


def check_header(lora: LoRAParams, width: int) -> None:
    """Check the header of a local file, without reading weights; a hub name is downloaded later.

    Args:
        lora: LoRA parameters.
        width: width of the text embeddings that the checkpoint's U-Net takes.

    Raises:
        CheckpointError: the file does not exist, is for another family of checkpoints or is a DoRA.
    """
    path = Path(lora.weights)
    if not path.exists():
        if not is_hub_name(lora.weights):
            raise CheckpointError(f"the LoRA weights '{path}' do not exist. {REMEDY}")
        return
    files = [path] if path.is_file() else sorted(path.glob(lora.file or "*.safetensors"))
    if len(files) != 1:
        raise CheckpointError(
            f"'{path}' holds {len(files)} files of LoRA weights ({', '.join(f.name for f in files)}): set one of them "
            "as 'file' in ldm.loras"
        )
    try:
        with safe_open(files[0], "pt") as header:
            names = list(header.keys())
            widths = {header.get_slice(key).get_shape()[1] for key in names if _reads_text(key)}
    except SafetensorError as error:
        raise CheckpointError(f"the LoRA '{files[0]}' is not a safetensors file ({error}). {REMEDY}") from error
    if any("dora_scale" in key for key in names):  # diffusers would skip these with only a warning
        raise CheckpointError(f"'{files[0]}' is a DoRA, which cannot be merged; use a plain LoRA")
    if widths - {width}:
        raise CheckpointError(
            f"the LoRA '{files[0]}' was trained for text of width {widths.pop()}, but the U-Net of ldm.checkpoint "
            f"takes {width} (768 is Stable Diffusion 1, 1024 is 2, 2048 is SDXL). {REMEDY}"
        )


def _reads_text(key: str) -> bool:
    """Return whether a tensor multiplies the text embeddings (keys and values of cross-attention)."""
    return "attn2" in key and ("to_k" in key or "to_v" in key) and key.endswith(("A.weight", "down.weight"))


def _read(pipeline: Any, lora: LoRAParams) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the tensors by PEFT's names below ``unet.`` and ``text_encoder.``, and the alpha of each layer."""
    xl = hasattr(pipeline, "text_encoder_2")
    loader: Any = StableDiffusionXLLoraLoaderMixin if xl else StableDiffusionLoraLoaderMixin
    options: dict[str, Any] = {"weight_name": lora.file, "use_safetensors": True, "return_lora_metadata": True}
    if xl:
        options["unet_config"] = pipeline.unet.config
    try:
        found, alphas, metadata = loader.lora_state_dict(lora.weights, **options)
        tensors, alphas = _renamed(found), _renamed(alphas or {})
    except Exception as error:
        raise CheckpointError(
            f"the LoRA weights '{lora.weights}' cannot be read ({type(error).__name__}: {str(error)[:200]}). {REMEDY}"
        ) from error
    metadata = metadata or {}
    if odd := [key for key, value in metadata.items() if key.endswith(PATTERNS) and value]:
        raise CheckpointError(f"the LoRA '{lora.weights}' uses {odd[0]}, which cannot be merged; use a plain LoRA")
    common = {part: metadata[f"{part}.lora_alpha"] for part in PARTS if f"{part}.lora_alpha" in metadata}
    alpha = {_path(key): float(common[part]) for key in tensors if (part := key.split(".")[0]) in common}
    return tensors, alpha | {_path(key): float(value) for key, value in alphas.items()}


def _renamed(found: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of the networks, by PEFT's names."""
    renamed: dict[str, Any] = {}
    for part in PARTS:
        own = {key.removeprefix(f"{part}."): value for key, value in found.items() if key.startswith(f"{part}.")}
        if part == "unet":
            own = convert_unet_state_dict_to_peft(own)
        elif own and not any(".lora_A." in key for key in own):
            old = any("_lora." in key for key in own)
            own = convert_state_dict_to_peft(own, StateDictType.DIFFUSERS_OLD if old else StateDictType.DIFFUSERS)
        renamed |= {f"{part}.{key}": value for key, value in own.items()}
    return renamed


def _path(key: str) -> str:
    """Return the layer name of a tensor or alpha."""
    return key.removesuffix(".alpha").removesuffix(DOWN).removesuffix(UP)


def _layers(
    pipeline: Any, tensors: dict[str, Tensor], lora: LoRAParams
) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Yield path, weight, A and B of each layer, checked against its network."""
    paths = {_path(key) for key in tensors}
    if not paths or any(not key.endswith((DOWN, UP)) for key in tensors):
        kinds = ", ".join(sorted({key.rsplit(".", 2)[-2] for key in tensors if not key.endswith((DOWN, UP))}))
        raise CheckpointError(f"'{lora.weights}' holds no plain LoRA (found: {kinds or 'nothing'}). {REMEDY}")
    for path in sorted(paths):
        part, _, name = path.partition(".")
        own = dict(getattr(pipeline, part).named_parameters()) if getattr(pipeline, part, None) else {}
        # transformers 5 has no 'text_model' inside a CLIPTextModel.
        weight = own.get(f"{name}.weight", own.get(f"{name.removeprefix('text_model.')}.weight"))
        down, up = tensors.get(path + DOWN), tensors.get(path + UP)
        if weight is None or down is None or up is None:
            raise CheckpointError(f"the LoRA '{lora.weights}' changes '{path}', which ldm.checkpoint lacks. {REMEDY}")
        given = (*up.shape[:1], *down.shape[1:])
        if tuple(weight.shape) != given or up.shape[1] != down.shape[0]:
            raise CheckpointError(
                f"the LoRA '{lora.weights}' changes '{path}' of shape {given}, but in ldm.checkpoint it has shape "
                f"{tuple(weight.shape)}. {REMEDY}"
            )
        yield path, weight, down, up
