"""Open a pipeline from parameters; combinations that cannot work fail before any weight is read."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel
from torch import Tensor

from dg_project.config import LDMParams, MemoryParams, PseudoDomain
from dg_project.core.device import resolve_device
from dg_project.core.errors import CheckpointError, ParameterError, nearest
from dg_project.core.files import fingerprint, folder_hash
from dg_project.core.weight_headers import refuse
from dg_project.diffusion.captions import HELD_OUT, SOURCE
from dg_project.diffusion.checkpoint import (
    REMEDY,
    Checkpoint,
    disable_progress_bars,
    is_hub_name,
    read,
    read_json,
    resolve,
    text_width,
)
from dg_project.diffusion.completeness import check_complete, check_prompts
from dg_project.diffusion.lora import check_header, merge
from dg_project.diffusion.modes import MODES, Mode

EXTRAS: dict[str, dict[str, Any]] = {
    "sd": {"safety_checker": None, "requires_safety_checker": False},
    "sdxl": {"add_watermarker": False},
}
"""Options that turn off diffusers' defaults: a filter that blackens images, a watermark in the pixels."""

VAES = {"AutoencoderTiny": AutoencoderTiny, "AutoencoderKL": AutoencoderKL}

KEPT = ("beta_schedule", "prediction_type")
"""Settings that another scheduler must take from the checkpoint; diffusers silently drops those a class lacks."""


def check(ldm: LDMParams, device: torch.device) -> Checkpoint | None:
    """Check that checkpoint and parameters fit together.

    Reads only JSON files and headers, so it can run long before the first image is generated.

    Returns:
        The checkpoint's description, or None for a hub name that must be downloaded first.

    Raises:
        CheckpointError: the checkpoint, its ControlNet or a LoRA is missing or of the wrong kind.
        ParameterError: parameters contradict each other.
    """
    if ldm.memory.offload != "none" and device.type == "cpu":
        raise ParameterError(
            f"ldm.memory.offload '{ldm.memory.offload}' moves networks between the CPU and an accelerator, and there "
            "is none here: set ldm.memory.offload: none"
        )
    if ldm.dtype == "float16" and device.type == "cpu":
        raise ParameterError("ldm.dtype 'float16' is for accelerators: on a CPU use float32 or bfloat16")
    if not Path(ldm.checkpoint).exists() and is_hub_name(ldm.checkpoint):
        return None
    checkpoint = read(resolve(ldm.checkpoint))
    mode = choose_mode(ldm, checkpoint)
    check_complete(checkpoint.folder, ldm.variant, mode.pipelines[checkpoint.family])
    _check_controlnet(ldm, checkpoint, mode)
    for lora in ldm.loras:
        check_header(lora, checkpoint.text_width)
    build_scheduler(ldm, checkpoint)
    return checkpoint


def resolve_dtype(name: str, device: torch.device) -> str:
    """Resolve ``auto`` to bfloat16 on CPUs that multiply tiles of it (AMX), else to float32.

    With AVX512-BF16 alone an image in bfloat16 takes 1.4 times as long as in float32 (``benchmarks/peers.py``).
    """
    if name != "auto":
        return name
    return "bfloat16" if device.type == "cpu" and torch.cpu._is_amx_tile_supported() else "float32"


def check_strengths(mode: str, domains: dict[str, PseudoDomain]) -> None:
    """Raise ``ParameterError`` for img2img at strength 1, where nothing of the source remains and labels are wrong."""
    full = [name for name, domain in domains.items() if domain.strength == 1]
    if mode == "img2img" and full:
        given = ",".join(f"synthesis.domains.{name}.strength=0.5" for name in full)
        raise ParameterError("img2img at strength 1 leaves nothing of the source image, so its labels would be wrong: "
                             f"--params {given}")


def choose_mode(ldm: LDMParams, checkpoint: Checkpoint) -> type[Mode]:
    """Return the mode of ``ldm.mode`` for this checkpoint.

    Raises:
        ParameterError: the input channels of its U-Net do not fit the mode.
    """
    mode = MODES[checkpoint.mode if ldm.mode == "auto" else ldm.mode]
    if checkpoint.unet_channels not in mode.channels(checkpoint.image_channels):
        fitting = [m.name for m in MODES.values() if checkpoint.unet_channels in m.channels(checkpoint.image_channels)]
        raise ParameterError(
            f"ldm.mode '{mode.name}' does not fit '{checkpoint.folder}': its U-Net takes {checkpoint.unet_channels} "
            f"channels, {mode.name} gives it {sorted(mode.channels(checkpoint.image_channels))}; use ldm.mode: "
            f"{' or '.join(fitting) or 'of another checkpoint'}"
        )
    return mode


def open_pipeline(ldm: LDMParams, device: torch.device) -> tuple[Any, type[Mode], str]:
    """Open a checkpoint with its scheduler, ControlNet and LoRAs.

    Returns:
        The pipeline on the CPU, its mode, and a hash of all weights (16 hex digits).

    Raises:
        CheckpointError: a file cannot be opened or is for another architecture.
        ParameterError: parameters contradict each other.
    """
    disable_progress_bars()
    ldm = ldm.model_copy(update={"dtype": resolve_dtype(ldm.dtype, device)})
    located = ldm.model_copy(update={"checkpoint": str(resolve(ldm.checkpoint, ldm.variant))})
    checkpoint = check(located, device)
    assert checkpoint is not None
    mode = choose_mode(ldm, checkpoint)
    parts: dict[str, Any] = {"scheduler": build_scheduler(ldm, checkpoint)}
    weights = [folder_hash(checkpoint.folder)]
    if mode.name == "controlnet" and ldm.controlnet.checkpoint:
        parts["controlnet"] = _controlnet(ldm.controlnet.checkpoint, ldm.dtype)
        weights.append(_tensors_hash(parts["controlnet"].state_dict()))
    if ldm.vae:
        parts["vae"] = open_vae(ldm.vae, ldm.dtype, checkpoint.image_channels)
        weights.append(_tensors_hash(parts["vae"].state_dict()))
    pipeline = _load(ldm, checkpoint, mode, parts)
    weights += [_tensors_hash(merge(pipeline, lora)) for lora in ldm.loras]
    return pipeline, mode, weights[0] if len(weights) == 1 else fingerprint(weights)


def move_to_device(pipeline: Any, memory: MemoryParams, device: torch.device) -> None:
    """Move an open pipeline to its device, with the memory savings of ``memory`` (slicing, tiling, CPU offload)."""
    if memory.attention_slicing:
        pipeline.enable_attention_slicing()
    # The activations of one image still fit into a CPU's cache.
    if memory.vae_slicing or device.type == "cpu":
        pipeline.vae.enable_slicing()
    if memory.vae_tiling:
        pipeline.vae.enable_tiling()
    if memory.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif memory.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)


def build_scheduler(ldm: LDMParams, checkpoint: Checkpoint) -> Any:
    """Return the checkpoint's scheduler, or the named one with the checkpoint's noise schedule.

    Raises:
        ParameterError: diffusers has no such scheduler, or the scheduler cannot keep the checkpoint's noise
            schedule or rejects an option or the number of steps.
    """
    stored = read_json(checkpoint.folder / "scheduler" / "scheduler_config.json", checkpoint.folder)
    name = ldm.scheduler or stored.get("_class_name", "")
    kind: Any = getattr(diffusers, name, None)
    if not _samples(kind):
        names = [n for n in dir(diffusers) if n.endswith("Scheduler")]
        raise ParameterError(f"ldm.scheduler: diffusers has no scheduler '{name}' for images.{nearest(name, names)}")
    known = [key for key in inspect.signature(kind).parameters if key != "kwargs"]
    lost = [f"{key}: {stored[key]}" for key in KEPT if ldm.scheduler and key in stored and key not in known]
    if lost:
        raise ParameterError(
            f"ldm.scheduler: {name} does not support what '{checkpoint.folder}' was trained with ({', '.join(lost)}) "
            "and would misread its outputs; leave it out, or use one such as DDIMScheduler"
        )
    for option in ldm.scheduler_options:
        if option not in known:
            raise ParameterError(f"ldm.scheduler_options: {name} has no option '{option}'.{nearest(option, known)}")
    try:
        scheduler = kind.from_pretrained(
            checkpoint.folder, subfolder="scheduler", local_files_only=True, **ldm.scheduler_options
        )
        scheduler.set_timesteps(ldm.steps)
    except Exception as error:
        raise ParameterError(
            f"{name} rejects ldm.steps {ldm.steps} with ldm.scheduler_options {ldm.scheduler_options}: {error}"
        ) from error
    return scheduler


def _samples(kind: Any) -> bool:
    """Return whether a class can noise and denoise an image, as every mode needs."""
    try:
        return all(hasattr(kind, method) for method in ("set_timesteps", "add_noise", "scale_model_input", "step"))
    except ImportError:  # the class needs a package that is not installed
        return False


def _check_controlnet(ldm: LDMParams, checkpoint: Checkpoint, mode: type[Mode]) -> None:
    name = ldm.controlnet.checkpoint
    if mode.name != "controlnet":
        if name:
            raise ParameterError(
                f"ldm.controlnet.checkpoint is not used in mode '{mode.name}': set ldm.mode: controlnet, or "
                "remove it"
            )
        return
    if name is None and checkpoint.mode != "controlnet":
        raise ParameterError(
            f"ldm.mode 'controlnet' needs a ControlNet, and '{checkpoint.folder}' has none: set "
            "ldm.controlnet.checkpoint to the folder or hub name of one"
        )
    folder = Path(name) if name else checkpoint.folder / "controlnet"
    if not folder.exists() and is_hub_name(folder):
        return
    config = read_json(folder / "config.json", folder)
    if config.get("_class_name") != "ControlNetModel":
        raise CheckpointError(
            f"ldm.controlnet.checkpoint '{folder}' is a {config.get('_class_name')}, not a ControlNetModel"
        )
    if text_width(config) != checkpoint.text_width:
        raise CheckpointError(
            f"the ControlNet '{folder}' was trained for text of width {text_width(config)}, but the U-Net of "
            f"'{checkpoint.folder}' takes {checkpoint.text_width}: use a ControlNet for this family of checkpoints"
        )


def _controlnet(name: str, dtype: str) -> Any:
    try:
        return _whole(name, *ControlNetModel.from_pretrained(name, dtype=getattr(torch, dtype),
                                                             output_loading_info=True))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"the ControlNet '{name}' cannot be opened ({_reason(error)}); ldm.controlnet.checkpoint must be the "
            "folder or hub name of a diffusers ControlNetModel"
        ) from error


def open_vae(name: str, dtype: str, channels: int) -> Any:
    """Open the VAE ``ldm.vae`` for a U-Net of latents with ``channels`` channels.

    Raises:
        CheckpointError: it is no VAE that diffusers can open, or has other latents.
    """
    remedy = "ldm.vae must be the folder or hub name of a diffusers AutoencoderTiny or AutoencoderKL"
    try:
        kind = AutoencoderTiny.load_config(name).get("_class_name")
        if kind not in VAES:
            raise CheckpointError(f"ldm.vae '{name}' is a {kind}; {remedy}")
        vae = _whole(name, *VAES[kind].from_pretrained(name, dtype=getattr(torch, dtype), output_loading_info=True))
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"ldm.vae '{name}' cannot be opened ({_reason(error)}); {remedy}") from error
    if vae.config.latent_channels != channels:
        raise CheckpointError(f"ldm.vae '{name}' makes latents of {vae.config.latent_channels} channels, and the U-Net "
                              f"of the checkpoint takes {channels}: use a VAE of its family")
    return vae


def _load(ldm: LDMParams, checkpoint: Checkpoint, mode: type[Mode], parts: dict[str, Any]) -> Any:
    kind = getattr(diffusers, mode.pipelines[checkpoint.family])
    options = {"dtype": getattr(torch, ldm.dtype), "variant": ldm.variant, "local_files_only": True}
    try:
        return kind.from_pretrained(checkpoint.folder, **options, **EXTRAS[checkpoint.family], **parts)
    except Exception as error:
        raise CheckpointError(
            f"'{checkpoint.folder}' cannot be opened as a {kind.__name__}: {_reason(error)}. {REMEDY}"
        ) from error


def _whole(name: str, network: Any, loaded: dict[str, Any]) -> Any:
    """Return a network if every weight was loaded; ``CheckpointError`` if some were filled in."""
    refuse(sorted(loaded["missing_keys"]), sorted(loaded["unexpected_keys"]),
           sorted(map(str, loaded["mismatched_keys"])), f"'{name}'")
    return network


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _tensors_hash(tensors: dict[str, Tensor]) -> str:
    """Return a hash of names and values, 16 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def check_generation(ldm: LDMParams, device: str, domains: dict[str, PseudoDomain]) -> None:
    """Check before a run that the diffusion model can make the pseudo domains.

    Only JSON files and headers are read: opening takes time, and a hub name is fetched when it is needed.

    Args:
        ldm: parameters of the diffusion model, paths located.
        device: ``training.device``.
        domains: pseudo domains by name.

    Raises:
        CheckpointError: the checkpoint is missing or incomplete.
        ParameterError: parameters that exclude one another for this checkpoint or on this machine, or names that only
            a fold fills in.
    """
    _check_filled(ldm, domains)
    checkpoint = check(ldm, resolve_device(device))
    check_strengths(ldm.mode if checkpoint is None else choose_mode(ldm, checkpoint).name, domains)
    if checkpoint is not None:
        check_prompts(checkpoint.folder, {name: domain.prompt for name, domain in domains.items() if domain.prompt})


def _check_filled(ldm: LDMParams, domains: dict[str, PseudoDomain]) -> None:
    """Refuse names that only a fold of ``leave_one_out`` fills in."""
    texts = {"ldm.checkpoint": ldm.checkpoint, **{f"synthesis.domains.{name}": domain.prompt or ""
                                                  for name, domain in domains.items()}}
    for parameter, text in texts.items():
        if found := next((name for name in (HELD_OUT, SOURCE) if name in text), None):
            raise ParameterError(f"{parameter}: '{text}' has {found}, which --pipeline=leave_one_out alone fills in "
                                 "for each of its folds: write a name instead")
