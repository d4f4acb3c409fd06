"""An incomplete checkpoint stops before a run: libraries would fill in random weights and empty vocabularies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dg_project.config import LDMParams, PseudoDomain
from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.diffusion.opening import check_generation, open_vae

DOMAINS = {"fog": PseudoDomain(prompt="a foggy street", strength=0.5)}


@pytest.fixture
def copy(tiny_ldm: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_ldm, tmp_path / "copy")


def check(folder: Path, domains=DOMAINS, **ldm) -> None:
    check_generation(LDMParams(checkpoint=str(folder), **ldm), "cpu", domains)


def change(file: Path, edit) -> None:
    state = load_file(file)
    edit(state)
    save_file(state, file)


def test_complete_checkpoint(copy):
    check(copy)


@pytest.mark.parametrize("files", [["tokenizer.json"], ["tokenizer.json", "tokenizer_config.json"]])
def test_tokenizer_missing(copy, files):
    for name in files:
        (copy / "tokenizer" / name).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"tokenizer/ has a vocabulary of \d+, text|'tokenizer'.*is empty"):
        check(copy)


def test_tokenizer_of_another_model(copy):
    from dg_project.pretraining.ldm.architecture import build_tokenizer

    build_tokenizer(["a foggy street at night"]).save_pretrained(copy / "tokenizer")
    with pytest.raises(CheckpointError, match=r"has a vocabulary of \d+, text_encoder/ one of \d+, so prompts would"):
        check(copy)


@pytest.mark.parametrize(("part", "file"), [("text_encoder", "model"), ("unet", "diffusion_pytorch_model"),
                                            ("vae", "diffusion_pytorch_model")])
def test_weights_missing_or_other(copy, part, file):
    path = copy / part / f"{file}.safetensors"
    name = sorted(load_file(path))[0]
    change(path, lambda state: state.update(more=state[name].clone()))
    with pytest.raises(CheckpointError, match=rf"{part}/{file}\.safetensors: 1 weights are not part of the network"):
        check(copy)
    change(path, lambda state: [state.pop(key) for key in ("more", name)])
    with pytest.raises(CheckpointError, match=rf"{part}/{file}\.safetensors: 1 weights are missing \(such as"):
        check(copy)
    change(path, lambda state: state.update({name: load_file(path)[sorted(state)[0]].flatten()[:1].clone()}))
    with pytest.raises(CheckpointError, match="1 weights have another shape"):
        check(copy)


def test_only_a_variant_is_stored(copy):
    for path in copy.rglob("*.safetensors"):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    with pytest.raises(CheckpointError, match=r"stored as the variant fp16: set ldm\.variant=fp16"):
        check(copy)
    check(copy, variant="fp16")
    for path in copy.rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(CheckpointError, match="has no weights of the variant fp16; copy the complete checkpoint"):
        check(copy, variant="fp16")


def test_attention_of_old_vaes_is_known(copy):
    def old(state):
        for name in [name for name in state if "attentions" in name]:
            renamed = name.replace("to_q", "query").replace("to_k", "key").replace("to_v", "value")
            state[renamed.replace("to_out.0", "proj_attn")] = state.pop(name)

    change(copy / "vae" / "diffusion_pytorch_model.safetensors", old)
    check(copy)


def test_two_prompts_with_the_same_tokens(copy):
    start = "a street " * 100
    domains = {name: PseudoDomain(prompt=f"{start}{name}", strength=0.5) for name in ("night", "fog")}
    with pytest.raises(ParameterError, match="the prompts of 'night' and 'fog' are the same"):
        check(copy, domains)
    check(copy, {name: PseudoDomain(prompt="a street", strength=0.5) for name in ("night", "fog")})  # one prompt


def test_vae_without_a_weight(copy):
    channels = json.loads((copy / "vae" / "config.json").read_text())["latent_channels"]
    assert open_vae(str(copy / "vae"), "float32", channels) is not None
    path = copy / "vae" / "diffusion_pytorch_model.safetensors"
    change(path, lambda state: state.pop(sorted(state)[0]))
    with pytest.raises(CheckpointError, match=r"1 weights are missing|cannot be opened"):
        open_vae(str(copy / "vae"), "float32", channels)
