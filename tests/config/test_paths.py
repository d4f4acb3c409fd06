"""Relative paths of parameters start at the project, wherever the command was called from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dg_project.config import LDMParams
from dg_project.config.paths import ROOT_VARIABLE, locate_ldm
from dg_project.hooks.run_context import read_settings

PARAMETERS: dict[str, Any] = {
    "data": {"reader": "voc", "root": "streets", "source": "day", "targets": ["night"], "classes": ["car"]},
    "ldm": {"checkpoint": "models/sd/v15"},
    "synthesis": {"domains": {"night": {"prompt": "a street at night", "strength": 1.0}}}}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def test_locate_ldm(root: Path) -> None:
    ldm = LDMParams(checkpoint="models/sd/v15", mode="controlnet", loras=[{"weights": "/abs/lora.safetensors"}],
                    controlnet={"checkpoint": "owner/name"})
    located = locate_ldm(ldm)
    assert located.checkpoint == str(root / "models/sd/v15")
    assert located.controlnet.checkpoint == "owner/name"
    assert located.loras[0].weights == "/abs/lora.safetensors"
    assert locate_ldm(LDMParams(checkpoint="owner/name")).controlnet.checkpoint is None


def test_settings_locate_weights_and_teachers(root: Path) -> None:
    read = read_settings(PARAMETERS | {"backbone": {"weights": "weights/own.pth"}, "scmd": {"hard_share": 0.3}})
    assert read.backbone.weights == str(root / "weights/own.pth")
    assert read.model_extra is not None
    assert read.model_extra["scmd"] is read.methods["scmd"]
    assert read.methods["scmd"].model_dump()["teacher"] == str(root / "data/06_models/clip_like")  # the default
    assert read.methods["scmd"].model_dump()["hard_share"] == 0.3
    assert read_settings(PARAMETERS | {"backbone": {"weights": "hub"}}).backbone.weights == "hub"


def test_settings_locate_every_folder(root: Path) -> None:
    read = read_settings(PARAMETERS | {"predict": {"input": "images", "model": "/abs/model"},
                                       "sampling": {"gate": {"clip": "models/clip/b32"}}})
    assert (read.data.root, read.workspace) == (str(root / "streets"), str(root / "data/.workspace"))
    assert (read.predict.input, read.predict.model) == (str(root / "images"), "/abs/model")
    assert read.export.model is None
    assert read.sampling.gate.clip == str(root / "models/clip/b32")
    assert read.pretrain_ldm.corpus == str(root / "data/01_raw/streets_corpus")


def test_settings_locate_the_rows_of_a_grid(root: Path) -> None:
    rows: dict[str, Any] = {
        "day": {"method": "scmd", "params": {"scmd": {"teacher": "models/day/v1", "hard_share": 0.3}}},
        "own": {"method": "drsf", "params": {"backbone": {"weights": "weights/own.pth"}}},
        "plain": {"method": "drsf", "params": {"drsf": {"stage": 4}}}}
    located = read_settings(PARAMETERS | {"benchmark": {"rows": rows}}).benchmark.rows
    assert located["day"].params == {"scmd": {"teacher": str(root / "models/day/v1"), "hard_share": 0.3}}
    assert located["own"].params == {"backbone": {"weights": str(root / "weights/own.pth")}}
    assert located["plain"].params == rows["plain"]["params"]


def test_a_combined_method_takes_the_parameters_of_its_parts() -> None:
    read = read_settings(PARAMETERS | {"drsf": {"stage": 4, "alpha": 0.5}, "mic": {"mask_ratio": 0.7},
                                       "drsf_uda": {"alpha": 2.0}}).methods
    assert {"stage": 4, "alpha": 2.0, "mask_ratio": 0.7}.items() <= read["drsf_uda"].model_dump().items()
    assert {"stage": 4, "alpha": 0.5}.items() <= read["drsf_diga"].model_dump().items()
