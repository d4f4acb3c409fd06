"""The full recipe at toy size: resumed it is bit-equal, no target image is opened, and the result is an img2img."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from dg_project.config import LDMParams, PretrainFolderLDMParams
from dg_project.core.errors import CheckpointError
from dg_project.core.files import file_hash
from dg_project.diffusion.generator import Generator
from dg_project.diffusion.opening import check
from dg_project.diffusion.origin import Origin
from dg_project.pretraining.folder_ldm import measure, recipe, sheet
from dg_project.pretraining.folder_ldm.autoencoder import open_autoencoder
from dg_project.pretraining.folder_ldm.pictures import read_pictures
from dg_project.pretraining.folder_ldm.recipe import Sources, pretrain
from dg_project.pretraining.ldm.stage import Stage


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (measure, sheet):
        monkeypatch.setattr(module, "STRENGTHS", (0.5,))
        monkeypatch.setattr(module, "STEPS", 2)


def weights(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in sorted(folder.rglob("*.safetensors"))}


def test_resumed_training_same_weights(small: PretrainFolderLDMParams, sources: Sources, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    expected = weights(pretrain(small, sources, tmp_path / "w0"))
    assert len(expected) == 3
    step, calls = Stage._step, []

    def failing(self: Stage, *args: object) -> dict[str, float]:
        calls.append(self.name)
        if len(calls) in (4, 9):
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(Stage, "_step", failing)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pretrain(small, sources, tmp_path / "w1")
    assert weights(pretrain(small, sources, tmp_path / "w1")) == expected
    assert set(calls) == {"vae", "unet"}
    monkeypatch.setattr(recipe, "open_autoencoder", lambda *_: pytest.fail("a finished model is not trained again"))
    assert pretrain(small, sources, tmp_path / "w1") == tmp_path / "w1/model"


def test_result_opens_as_img2img(small: PretrainFolderLDMParams, sources: Sources, tmp_path: Path) -> None:
    folder = pretrain(small, sources, tmp_path)
    checkpoint = check(LDMParams(checkpoint=str(folder)), torch.device("cpu"))
    assert checkpoint is not None
    assert (checkpoint.mode, checkpoint.unet_channels, checkpoint.image_channels) == ("img2img", 4, 4)
    made = Generator.open(folder).generate([Image.new("RGB", (24, 20), "grey")], ["a photo of a cat"], [0],
                                           strength=0.5, steps=2)
    assert made[0].size == (24, 20)
    assert Origin.read(folder) == Origin(["art", "photo"], "sketch", ["cat", "dog"], small.captions)
    card = (folder / "README.md").read_text()
    assert "No image of `sketch` was opened" in card
    assert "| art | 6 |" in card
    assert "| changed, strength 0.5 |" in card
    assert str(tmp_path) not in card
    with Image.open(folder / "samples.png") as samples:
        assert samples.width == 4 * 130, "source, autoencoder, and a column per source domain"


def test_no_file_of_the_held_out_domain_is_opened(small: PretrainFolderLDMParams, sources: Sources, root: Path,
                                                  tmp_path: Path) -> None:
    assert set(sources.rows["domain"]) == {"art", "photo"}
    for path in (root / "sketch").rglob("*.png"):
        path.write_bytes(b"no image")
    assert pretrain(small, sources, tmp_path / "w").is_dir()


def test_autoencoder_starts_from_a_trained_one(small: PretrainFolderLDMParams, sources: Sources, tiny_ldm: Path,
                                               tiny_img2img: Path, tmp_path: Path) -> None:
    pictures = read_pictures(sources.rows, sources.root, small.size)
    start = small.model_copy(update={"vae_start": str(tiny_ldm)})
    opened, trained = open_autoencoder(start, pictures), Generator.open(tiny_ldm).pipeline.vae
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in opened.state_dict().items())
    folder = pretrain(start, sources, tmp_path / "w")
    assert "fine-tuned from `" in (folder / "README.md").read_text()
    with pytest.raises(CheckpointError, match=r"vae_start: '.*nowhere' has no autoencoder"):
        open_autoencoder(small.model_copy(update={"vae_start": str(tmp_path / "nowhere")}), pictures)
