"""LoRA: merging matches the formula for every file format; wrong files give an early error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline
from safetensors.torch import save_file

from dg_project.config import LDMParams
from dg_project.core.errors import CheckpointError
from dg_project.diffusion.generator import Generator

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
CONV = "down_blocks.0.resnets.0.conv1"
QUERY = "text_model.encoder.layers.0.self_attn.q_proj"


def opened(checkpoint: Path, *loras: dict[str, Any], **options: Any) -> Generator:
    return Generator.from_params(LDMParams(checkpoint=str(checkpoint), loras=list(loras), **options))


def pair(out: int, into: int, rank: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(rank, into, generator=draw), torch.randn(out, rank, generator=draw)


def layers(path: str, down: torch.Tensor, up: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}


def weight(generator: Generator, path: str, part: str = "unet") -> torch.Tensor:
    return getattr(generator.pipeline, part).get_submodule(path).weight.detach()


@pytest.fixture(scope="module")
def plain(tiny_img2img: Path) -> Generator:
    return opened(tiny_img2img)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A LoRA of one layer of the U-Net and one of the text encoder, as diffusers saves it."""
    text = layers(QUERY, *pair(16, 16, seed=1))
    StableDiffusionImg2ImgPipeline.save_lora_weights(tmp_path / "lora", layers(ATTENTION, *pair(16, 16)), text)
    return tmp_path / "lora"


def test_merge_matches_formula(plain: Generator, tiny_img2img: Path, saved: Path) -> None:
    changed = opened(tiny_img2img, {"weights": str(saved), "scale": 0.7})
    down, up = pair(16, 16)
    torch.testing.assert_close(weight(changed, ATTENTION), weight(plain, ATTENTION) + 0.7 * up @ down)
    down, up = pair(16, 16, seed=1)
    name = QUERY if hasattr(plain.pipeline.text_encoder, "text_model") else QUERY.removeprefix("text_model.")
    before, after = (weight(g, name, "text_encoder") for g in (plain, changed))
    torch.testing.assert_close(after, before + 0.7 * up @ down)
    untouched = ATTENTION.replace("to_k", "to_v")
    assert torch.equal(weight(changed, untouched), weight(plain, untouched))


def test_several_loras_and_fingerprint(plain: Generator, tiny_img2img: Path, saved: Path) -> None:
    once, twice = {"weights": str(saved), "scale": 0.5}, {"weights": str(saved / "pytorch_lora_weights.safetensors")}
    both = opened(tiny_img2img, once, twice)
    down, up = pair(16, 16)
    torch.testing.assert_close(weight(both, ATTENTION), weight(plain, ATTENTION) + 1.5 * up @ down)
    one = opened(tiny_img2img, once)
    assert len({plain.fingerprint, one.fingerprint, both.fingerprint}) == 3
    assert one.fingerprint == opened(tiny_img2img, once).fingerprint


def test_kohya_format(plain: Generator, tiny_img2img: Path, tmp_path: Path) -> None:
    down, up = pair(16, 16, rank=4)
    conv_down, conv_up = torch.randn(2, 8, 3, 3), torch.randn(8, 2, 1, 1)
    flat = {ATTENTION: (down, up), CONV: (conv_down, conv_up)}
    tensors = {f"lora_unet_{path.replace('.', '_')}.{key}": value for path, (a, b) in flat.items()
               for key, value in (("lora_down.weight", a), ("lora_up.weight", b), ("alpha", torch.tensor(2.0)))}
    tensors |= {f"lora_te_{QUERY.replace('.', '_')}.{key}": value for key, value in (
        ("lora_down.weight", down.clone()), ("lora_up.weight", up.clone()), ("alpha", torch.tensor(1.0)))}
    save_file(tensors, tmp_path / "kohya.safetensors")
    changed = opened(tiny_img2img, {"weights": str(tmp_path / "kohya.safetensors")})
    torch.testing.assert_close(weight(changed, ATTENTION), weight(plain, ATTENTION) + 2 / 4 * up @ down)
    kernel = torch.einsum("or,rikl->oikl", conv_up[..., 0, 0], conv_down)
    torch.testing.assert_close(weight(changed, CONV), weight(plain, CONV) + 2 / 2 * kernel)
    name = QUERY if hasattr(plain.pipeline.text_encoder, "text_model") else QUERY.removeprefix("text_model.")
    before, after = (weight(g, name, "text_encoder") for g in (plain, changed))
    torch.testing.assert_close(after, before + 1 / 4 * up @ down)


def test_alpha_from_metadata(plain: Generator, tiny_img2img: Path, tmp_path: Path) -> None:
    down, up = pair(16, 16)
    StableDiffusionImg2ImgPipeline.save_lora_weights(
        tmp_path, layers(ATTENTION, down, up), unet_lora_adapter_metadata={"r": 2, "lora_alpha": 8})
    changed = opened(tiny_img2img, {"weights": str(tmp_path)})
    torch.testing.assert_close(weight(changed, ATTENTION), weight(plain, ATTENTION) + 4 * up @ down)


def test_sdxl_two_text_encoders(tiny_sdxl: Path, tmp_path: Path) -> None:
    StableDiffusionXLImg2ImgPipeline.save_lora_weights(
        tmp_path, layers(ATTENTION, *pair(16, 32)), layers(QUERY, *pair(16, 16)), layers(QUERY, *pair(16, 16, seed=1)))
    plain, changed = opened(tiny_sdxl), opened(tiny_sdxl, {"weights": str(tmp_path)})
    for part in ("unet", "text_encoder", "text_encoder_2"):
        before, after = (dict(getattr(g.pipeline, part).named_parameters()) for g in (plain, changed))
        assert sum(not torch.equal(before[name], after[name]) for name in before) == 1, part


def test_lora_params_from_path() -> None:
    assert LDMParams(checkpoint="x", loras="/a/b.safetensors").loras == LDMParams(
        checkpoint="x", loras=[{"weights": "/a/b.safetensors", "scale": 1.0}]).loras


def test_header_of_another_family_error(tiny_img2img: Path, tmp_path: Path) -> None:
    StableDiffusionXLImg2ImgPipeline.save_lora_weights(tmp_path, layers(ATTENTION, *pair(16, 2048)))
    with pytest.raises(CheckpointError, match=r"trained for text of width 2048, but .* takes 16"):
        opened(tiny_img2img, {"weights": str(tmp_path)})


@pytest.mark.parametrize(("tensors", "message"), [
    (layers("mid_block.no_such_layer", *pair(16, 16)), "changes 'unet.mid_block.no_such_layer', which .* lacks"),
    (layers(ATTENTION.replace("attn2", "attn1"), *pair(16, 99)), r"of shape \(16, 99\), but .* shape \(16, 16\)"),
    ({f"{ATTENTION}.hada_w1_a": torch.zeros(2, 2)}, "holds no plain LoRA"),
    ({**layers(ATTENTION, *pair(16, 16)), f"{ATTENTION}.dora_scale": torch.ones(16)}, "is a DoRA, which cannot be"),
])
def test_unfit_weights_error(
    tiny_img2img: Path, tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    save_file({f"unet.{key}": value for key, value in tensors.items()}, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=message):
        opened(tiny_img2img, {"weights": str(tmp_path / "odd.safetensors")})


def test_missing_or_ambiguous_files_error(tiny_img2img: Path, tmp_path: Path, saved: Path) -> None:
    with pytest.raises(CheckpointError, match="do not exist"):
        opened(tiny_img2img, {"weights": str(tmp_path / "nowhere.safetensors")})
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        opened(tiny_img2img, {"weights": str(tmp_path / "broken.safetensors")})
    only = saved / "pytorch_lora_weights.safetensors"
    (saved / "second.safetensors").write_bytes(only.read_bytes())
    with pytest.raises(CheckpointError, match=r"2 files of LoRA weights \(pytorch_lora_weights.safetensors, second"):
        opened(tiny_img2img, {"weights": str(saved)})
    assert opened(tiny_img2img, {"weights": str(saved), "file": only.name}).mode.name == "img2img"
