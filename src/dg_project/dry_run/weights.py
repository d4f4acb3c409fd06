"""Where the weights of a run are, and whether they are on this machine; nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import timm
from huggingface_hub import try_to_load_from_cache

from dg_project.backbones.build import TORCHVISION
from dg_project.backbones.timm_networks import SHORT_NAMES
from dg_project.config import BackboneParams, LDMParams, Settings, checkpoint_fields
from dg_project.diffusion.checkpoint import is_hub_name
from dg_project.methods import method_class
from dg_project.vlm.clip import OPEN_CLIP


def backbone_weights(params: BackboneParams) -> tuple[str, bool]:
    """Return where the backbone's weights are, and whether they are on this machine."""
    if params.weights is None:
        return "random", True
    if params.weights != "hub":
        return str(params.weights), True
    if params.name.startswith(TORCHVISION):
        return "torchvision downloads them, unless its cache has them", False
    name = SHORT_NAMES.get(params.name, params.name)
    owner = name.removeprefix("hf-hub:") if name.startswith("hf-hub:") else _published(name)
    if owner is None:
        return "timm downloads them, unless its cache has them", False
    return _hub(owner, "model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")


def _published(name: str) -> str | None:
    config = timm.get_pretrained_cfg(name)
    return config.hf_hub_id if config else None


def diffusion_weights(ldm: LDMParams) -> dict[str, tuple[str, bool]]:
    """Return the same for the diffusion model, its ControlNet and its LoRAs, by parameter."""
    found = {"ldm.checkpoint": _folder(ldm.checkpoint, "model_index.json")}
    if ldm.vae:
        found["ldm.vae"] = _folder(ldm.vae, "config.json")
    if ldm.controlnet.checkpoint:
        found["ldm.controlnet.checkpoint"] = _folder(ldm.controlnet.checkpoint, "config.json")
    for number, lora in enumerate(ldm.loras):
        found[f"ldm.loras.{number}"] = _folder(lora.weights, lora.file or "pytorch_lora_weights.safetensors")
    return found


def method_weights(name: str, settings: Settings) -> dict[str, tuple[str, bool]]:
    """Return the same for checkpoints that a method opens itself, such as a teacher, by parameter."""
    kind = method_class(name)
    own = kind.params_of(settings)
    return {f"{name}.{key}": _checkpoint(getattr(own, key)) for key in checkpoint_fields(kind.Params)}


def _checkpoint(name: str) -> tuple[str, bool]:
    if name.startswith(OPEN_CLIP):
        return f"{name}, which open_clip downloads unless its cache has it", False
    return _folder(name, "config.json")


def _folder(name: str, file: str) -> tuple[str, bool]:
    return _hub(name, file) if is_hub_name(name) and not Path(name).exists() else (name, True)


def _hub(name: str, *files: str) -> tuple[str, bool]:
    """Return whether one of a repository's files is in the local cache of the Hugging Face hub; nothing is fetched."""
    if any(isinstance(try_to_load_from_cache(name, file), str) for file in files):
        return f"{name}, in the cache of the hub", True
    return f"{name}, to be fetched from the hub", False
