"""The full recipe at toy size: a killed and resumed run writes the same folder, which the generator opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image

from dg_project.config import PretrainLDMParams
from dg_project.core.errors import DataError
from dg_project.core.files import file_hash
from dg_project.diffusion.generator import Generator
from dg_project.pretraining.ldm import measure, recipe, stage
from dg_project.pretraining.ldm.recipe import pretrain


def save(params: PretrainLDMParams, workdir: Path, folder: Path) -> dict[str, str]:
    folder.mkdir()
    pretrain(params, workdir)(folder)
    return {p.relative_to(folder).as_posix(): file_hash(p) for p in sorted(folder.rglob("*.safetensors"))}


def test_resumed_training_same_weights(
    small: PretrainLDMParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "SHEET_PROMPTS", recipe.SHEET_PROMPTS[:1])
    monkeypatch.setattr(measure, "STEPS", (1,))
    expected = save(small, tmp_path / "w0", tmp_path / "m0")
    step, calls = stage.Stage._step, []

    def failing(self: stage.Stage, *args: object) -> dict[str, float]:
        calls.append(self.name)
        if len(calls) in (4, 9, 13):
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(stage.Stage, "_step", failing)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            pretrain(small, tmp_path / "w1")
    assert save(small, tmp_path / "w1", tmp_path / "m1") == expected
    assert {"vae", "unet", "critic"} == set(calls)

    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(tmp_path / "m0")
    assert pipeline.vae.config.scaling_factor == 1.0
    made = Generator.open(tmp_path / "m0").generate(
        [Image.new("RGB", (48, 32), "grey")], ["a street at night"], [0], steps=2
    )
    assert made[0].size == (48, 32)
    card = (tmp_path / "m0/README.md").read_text()
    assert "| real frames |" in card
    assert "PSNR" in card
    assert list((tmp_path / "w0").glob("unet_*.png")), "sample sheets"


def test_critic_stage_from_earlier_run(small: PretrainLDMParams, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SHEET_PROMPTS", recipe.SHEET_PROMPTS[:1])
    monkeypatch.setattr(measure, "STEPS", (1,))
    first = save(small.model_copy(update={"critic_steps": 0}), tmp_path / "w0", tmp_path / "m0")
    assert not (tmp_path / "w0/critic.pt").exists()
    assert "critic" not in (tmp_path / "m0/README.md").read_text()
    on_top = save(small.model_copy(update={"start": str(tmp_path / "m0")}), tmp_path / "w1", tmp_path / "m1")
    assert not (tmp_path / "w1/unet.pt").exists()
    changed = {name for name in first if on_top[name] != first[name]}
    assert changed == {"unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"}
    card = (tmp_path / "m1/README.md").read_text()
    assert "against a critic" in card
    assert "started from the weights of an earlier run" in card
    assert str(tmp_path) not in "".join(path.read_text() for path in (tmp_path / "m1").rglob("*.json"))
    with pytest.raises(DataError, match=r"the unet of .* has other sizes"):
        pretrain(small.model_copy(update={"start": str(tmp_path / "m0"), "unet_channels": [8, 24]}), tmp_path / "w2")


def test_start_with_other_vocabulary_error(small: PretrainLDMParams, tiny_ldm: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"words of .* are not those of the captions"):
        pretrain(small.model_copy(update={"start": str(tiny_ldm)}), tmp_path / "w")
    with pytest.raises(DataError, match=r"has no model_index.json"):
        pretrain(small.model_copy(update={"start": str(tmp_path)}), tmp_path / "w")
