"""Relative paths of parameters start at the project, wherever the command was called from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dg_project.config import GridParams, LDMParams
from dg_project.pipelines.paths import ROOT_VARIABLE, locate_ldm, locate_rows, read_parameters


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def test_every_checkpoint_is_looked_for_below_the_project(root: Path) -> None:
    ldm = LDMParams(checkpoint="models/sd/v15", mode="controlnet", loras=[{"weights": "/abs/lora.safetensors"}],
                    controlnet={"checkpoint": "owner/name"})
    located = locate_ldm(ldm)
    assert located.checkpoint == str(root / "models/sd/v15")
    assert located.controlnet.checkpoint == "owner/name"
    assert located.loras[0].weights == "/abs/lora.safetensors"
    assert locate_ldm(LDMParams(checkpoint="owner/name")).controlnet.checkpoint is None


def test_weights_and_teachers_too(root: Path) -> None:
    parameters: dict[str, Any] = {
        "data": {"reader": "voc", "root": "streets", "source": "day", "targets": ["night"], "classes": ["car"]},
        "ldm": {"checkpoint": "models/sd/v15"},
        "synthesis": {"domains": {"night": {"prompt": "a street at night", "strength": 1.0}}}}
    read = read_parameters(parameters | {"backbone": {"weights": "weights/own.pth"}, "scmd": {"hard_share": 0.3}})
    assert read.backbone.weights == str(root / "weights/own.pth")
    assert read.model_extra is not None
    assert read.model_extra["scmd"]["teacher"] == str(root / "data/06_models/clip_like")  # the default
    assert read.model_extra["scmd"]["hard_share"] == 0.3
    assert read_parameters(parameters | {"backbone": {"weights": "hub"}}).backbone.weights == "hub"


def test_and_those_of_the_rows_of_a_grid(root: Path) -> None:
    rows: dict[str, Any] = {
        "day": {"method": "scmd", "params": {"scmd": {"teacher": "models/day/v1", "hard_share": 0.3}}},
        "own": {"method": "drsf", "params": {"backbone": {"weights": "weights/own.pth"}}},
        "plain": {"method": "drsf", "params": {"drsf": {"stage": 2}}}}
    located = locate_rows(GridParams.model_validate({"rows": rows})).rows
    assert located["day"].params == {"scmd": {"teacher": str(root / "models/day/v1"), "hard_share": 0.3}}
    assert located["own"].params == {"backbone": {"weights": str(root / "weights/own.pth")}}
    assert located["plain"].params == rows["plain"]["params"]
