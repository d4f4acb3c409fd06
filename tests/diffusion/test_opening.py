"""Opening a pipeline: combinations that cannot work fail with a clear error before any weight is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from huggingface_hub import constants
from PIL import Image

from dg_project.config import LDMParams, MemoryParams
from dg_project.core.errors import CheckpointError, DGError, ParameterError
from dg_project.diffusion.generator import Generator
from dg_project.diffusion.opening import check, move_to_device, resolve_dtype

CPU = torch.device("cpu")
GPU = torch.device("cuda")


def params(checkpoint: Path | str, **options: Any) -> LDMParams:
    return LDMParams(checkpoint=str(checkpoint), **options)


def scene() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8))


def make(generator: Generator) -> np.ndarray:
    return np.asarray(generator.generate([scene()], ["night"], [0], steps=4, strength=0.5)[0])


def changed_index(checkpoint: Path, target: Path, **changes: Any) -> Path:
    shutil.copytree(checkpoint, target)
    index = json.loads((target / "model_index.json").read_text())
    (target / "model_index.json").write_text(json.dumps({**index, **changes}))
    return target


def test_missing_text_encoder_error(tiny_img2img: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_img2img, tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "text_encoder")
    with pytest.raises(CheckpointError, match="names the part 'text_encoder', but there is no such folder"):
        check(params(tmp_path / "cut"), CPU)
    none = changed_index(tiny_img2img, tmp_path / "none", text_encoder=[None, None])
    with pytest.raises(CheckpointError, match="it has no text encoder"):
        check(params(none), CPU)


def test_damaged_weight_file_error(tiny_img2img: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_img2img, tmp_path / "cut")
    weights = tmp_path / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be opened as a StableDiffusionImg2ImgPipeline"):
        Generator.from_params(params(tmp_path / "cut"))


def test_unsupported_pipeline_class_error(tiny_img2img: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a FluxPipeline, .* it runs StableDiffusionPipeline, "):
        check(params(changed_index(tiny_img2img, tmp_path / "flux", _class_name="FluxPipeline")), CPU)


@pytest.mark.parametrize("name", ["checkpoint", "controlnet", "lora"])
def test_unreachable_hub_error(tiny_img2img: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub = "nobody/no-such-model"
    ldm = {"checkpoint": params(hub),
           "controlnet": params(tiny_img2img, mode="controlnet", controlnet={"checkpoint": hub}),
           "lora": params(tiny_img2img, loras=[{"weights": hub}])}[name]
    check(ldm, CPU)
    with pytest.raises(CheckpointError, match=f"'{hub}' .*(cannot be|could it be)"):
        Generator.from_params(ldm)


@pytest.mark.parametrize(("checkpoint", "mode", "message"), [
    ("tiny_ldm", "img2img", r"takes 8 channels, img2img gives it \[4\]; use ldm.mode: instruct"),
    ("tiny_ldm", "inpaint", r"takes 8 channels, inpaint gives it \[4, 9\]; use ldm.mode: instruct"),
    ("tiny_img2img", "instruct", r"takes 4 channels, .* use ldm.mode: img2img or controlnet or inpaint or inversion"),
    ("tiny_inpaint", "inversion", r"takes 9 channels, .* use ldm.mode: inpaint"),
    ("tiny_img2img", "controlnet", "needs a ControlNet, and .* has none: set ldm.controlnet.checkpoint"),
])
def test_mode_of_wrong_channels_error(
    request: pytest.FixtureRequest, checkpoint: str, mode: str, message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        check(params(request.getfixturevalue(checkpoint), mode=mode), CPU)


def test_unfit_controlnet_error(
    tiny_img2img: Path, tiny_sdxl_controlnet: Path, tiny_controlnet: Path
) -> None:
    for beside, message in ((tiny_sdxl_controlnet, "width 32, but .* takes 16"),
                            (tiny_img2img / "unet", "is a UNet2DConditionModel, not a ControlNetModel"),
                            (tiny_img2img / "nowhere", "config.json is missing")):
        with pytest.raises(CheckpointError, match=message):
            check(params(tiny_img2img, mode="controlnet", controlnet={"checkpoint": str(beside)}), CPU)
    with pytest.raises(ParameterError, match=r"not used in mode 'img2img': set ldm\.mode: controlnet"):
        check(params(tiny_img2img, controlnet={"checkpoint": str(tiny_controlnet)}), CPU)


def test_checkpoint_with_controlnet(tiny_img2img: Path, tiny_controlnet: Path, tmp_path: Path) -> None:
    whole = changed_index(tiny_img2img, tmp_path / "whole", _class_name="StableDiffusionControlNetPipeline",
                          controlnet=["diffusers", "ControlNetModel"])
    shutil.copytree(tiny_controlnet, whole / "controlnet")
    generator = Generator.from_params(params(whole))
    assert generator.mode.name == "controlnet"
    beside = params(tiny_img2img, mode="controlnet", controlnet={"checkpoint": str(tiny_controlnet)})
    assert np.array_equal(make(generator), make(Generator.from_params(beside)))


@pytest.mark.parametrize(("options", "message"), [
    ({"scheduler": "DDIMSheduler"}, "Did you mean 'DDIMScheduler'"),
    ({"scheduler": "FlowMatchEulerDiscreteScheduler"}, "no scheduler 'FlowMatchEulerDiscreteScheduler' for images"),
    ({"scheduler": "EulerDiscreteScheduler", "scheduler_options": {"timestep_spacin": "trailing"}},
     "no option 'timestep_spacin'. Did you mean 'timestep_spacing'"),
    ({"scheduler": "LCMScheduler", "steps": 60}, "LCMScheduler rejects ldm.steps 60"),
    ({"scheduler_options": {"beta_schedule": "round"}}, "PNDMScheduler rejects .*beta_schedule"),
    ({"memory": {"offload": "model"}}, "there is none here: set ldm.memory.offload: none"),
    ({"dtype": "float16"}, "on a CPU use float32 or bfloat16"),
])
def test_unsupported_options_error(
    tiny_img2img: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        check(params(tiny_img2img, **options), CPU)


def test_check_accelerator_options(tiny_img2img: Path) -> None:
    for options in ({"memory": {"offload": "sequential"}}, {"dtype": "float16"}):
        assert check(params(tiny_img2img, **options), GPU) is not None


@pytest.mark.parametrize(("scheduler", "options", "timesteps"), [
    ("LCMScheduler", {}, [999, 759, 499, 259]),
    ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, [999, 749, 499, 249]),
])
def test_few_step_schedulers(
    tiny_img2img: Path, scheduler: str, options: dict[str, Any], timesteps: list[int]
) -> None:
    generator = Generator.from_params(params(tiny_img2img, scheduler=scheduler, scheduler_options=options, steps=4))
    seen: list[int] = []
    generator.pipeline.unet.register_forward_pre_hook(lambda module, args: seen.append(round(float(args[1]))))
    generator.generate([scene()], ["night"], [0], steps=4, strength=1.0)
    assert seen == timesteps
    seen.clear()
    generator.generate([scene()], ["night"], [0], steps=4, strength=0.5)
    assert seen == timesteps[2:]


def test_scheduler_keeps_noise_schedule(tiny_img2img: Path) -> None:
    config = Generator.from_params(params(tiny_img2img, scheduler="EulerDiscreteScheduler")).pipeline.scheduler.config
    assert config.beta_schedule == "scaled_linear"
    assert config.beta_end == pytest.approx(0.012)


@pytest.mark.parametrize(("scheduler", "lost"), [
    ("RePaintScheduler", "prediction_type: v_prediction"), ("EDMEulerScheduler", "beta_schedule: scaled_linear"),
    ("KarrasVeScheduler", "beta_schedule: scaled_linear, prediction_type: v_prediction"),
])
def test_scheduler_losing_settings_error(
    tiny_v_prediction: Path, scheduler: str, lost: str
) -> None:
    for kept in ("DDIMScheduler", "EulerDiscreteScheduler", "LCMScheduler"):
        generator = Generator.from_params(params(tiny_v_prediction, scheduler=kept))
        assert generator.pipeline.scheduler.config.prediction_type == "v_prediction"
    with pytest.raises(ParameterError, match=rf"{scheduler} does not support .* \({lost}\)"):
        check(params(tiny_v_prediction, scheduler=scheduler), CPU)


def test_lcm_gets_guidance_embedding(tiny_img2img: Path, tmp_path: Path) -> None:
    """An LCM is a Stable Diffusion whose U-Net takes the guidance as an embedding."""
    from diffusers import UNet2DConditionModel

    lcm = changed_index(tiny_img2img, tmp_path / "lcm", _class_name="LatentConsistencyModelPipeline")
    unet = UNet2DConditionModel.from_pretrained(lcm / "unet")
    UNet2DConditionModel.from_config({**unet.config, "time_cond_proj_dim": 8}).save_pretrained(lcm / "unet")
    generator = Generator.from_params(params(lcm, scheduler="LCMScheduler"))
    images = [np.asarray(generator.generate([scene()], ["night"], [0], steps=4, guidance_scale=g)[0]) for g in (1, 8)]
    assert not np.array_equal(*images)


def test_memory_options_keep_image(tiny_img2img: Path) -> None:
    plain = make(Generator.from_params(params(tiny_img2img))).astype(int)
    thrifty = Generator.from_params(params(tiny_img2img, memory={"attention_slicing": True, "vae_slicing": True}))
    assert np.abs(make(thrifty) - plain).max() <= 1
    tiled = Generator.from_params(params(tiny_img2img, memory={"vae_tiling": True}))
    assert tiled.pipeline.vae.use_tiling


@pytest.mark.parametrize("mode", ["img2img", "inversion"])
def test_model_offload_keeps_image(tiny_img2img: Path, mode: Any) -> None:
    """The CPU stands for the accelerator here: the networks are hooked and moved, from the CPU to the CPU."""
    generator = Generator.from_params(params(tiny_img2img, mode=mode))
    expected = make(generator)
    move_to_device(generator.pipeline, MemoryParams(offload="model"), CPU)
    assert all(hasattr(network, "_hf_hook") for network in (generator.pipeline.unet, generator.pipeline.vae))
    assert np.array_equal(make(generator), expected)


def test_sequential_offload_placement(tiny_img2img: Path) -> None:
    """accelerate cannot run this from the CPU to the CPU, so only the placement is seen here."""
    generator = Generator.from_params(params(tiny_img2img))
    move_to_device(generator.pipeline, MemoryParams(offload="sequential"), CPU)
    assert {p.device.type for p in generator.pipeline.unet.parameters()} == {"meta"}


def test_errors_are_dg_errors() -> None:
    assert issubclass(CheckpointError, DGError)
    assert issubclass(ParameterError, DGError)


def test_resolution_keeps_image_size(tiny_img2img: Path) -> None:
    generator = Generator.from_params(params(tiny_img2img, resolution=48))
    seen: list[torch.Size] = []
    generator.pipeline.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-2:]))
    assert generator.generate([scene()], ["night"], [0], steps=2)[0].size == (40, 24)
    assert tuple(seen[0]) == (48 // 4, 80 // 4)


def test_resolved_params(tiny_img2img: Path) -> None:
    generator = Generator.from_params(params(tiny_img2img, dtype="bfloat16"), CPU)
    resolved = generator.resolved(params(tiny_img2img))
    assert (resolved.mode, resolved.dtype) == ("img2img", "bfloat16")


def build_tiny_vae(folder: Path, channels: int = 4) -> Path:
    torch.manual_seed(0)
    sizes = {f"{half}_block_out_channels": (8, 8, 8) for half in ("encoder", "decoder")}
    blocks = {f"num_{half}_blocks": (1, 1, 1) for half in ("encoder", "decoder")}
    AutoencoderTiny(latent_channels=channels, **sizes, **blocks).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["tiny_img2img", "tiny_inpaint", "tiny_ldm"])
def test_another_vae(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    checkpoint = request.getfixturevalue(kind)
    own, other = (Generator.from_params(params(checkpoint, vae=vae)) for vae in (None, str(build_tiny_vae(tmp_path))))
    assert isinstance(other.pipeline.vae, AutoencoderTiny)
    assert own.fingerprint != other.fingerprint
    for strength in (0.5, 1.0):
        made = [each.generate([scene()], ["night"], [0], steps=2, strength=strength)[0] for each in (own, other)]
        assert made[0].size == made[1].size
        assert not np.array_equal(*map(np.asarray, made))


def test_vae_that_does_not_fit(tiny_img2img: Path, tmp_path: Path) -> None:
    for vae, message in ((build_tiny_vae(tmp_path / "wide", 8), "latents of 8 channels, and the U-Net .* takes 4"),
                         (tiny_img2img / "unet", "is a UNet2DConditionModel; ldm.vae must be"),
                         (tmp_path / "nowhere" / "at" / "all", "cannot be opened")):
        with pytest.raises(CheckpointError, match=message):
            Generator.from_params(params(tiny_img2img, vae=str(vae)))


@pytest.mark.parametrize(("tiles", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_dtype_of_a_cpu(tiles: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert resolve_dtype("auto", CPU) == expected
    assert resolve_dtype("bfloat16", CPU) == "bfloat16"
