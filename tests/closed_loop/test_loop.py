"""The loop on generated streets with a random diffusion model: budget, resumption, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_experiment import settings

from dg_project.closed_loop import loop as module
from dg_project.closed_loop.loop import Outcome, run_closed_loop
from dg_project.diffusion.generator import Generator
from dg_project.domains.manifest import COLUMNS, PSEUDO_COLUMNS, SAMPLED_COLUMNS
from dg_project.errors import DataError, ParameterError
from dg_project.experiment import TrainingData
from dg_project.files import folder_hash
from dg_project.methods.artifact import read_card
from dg_project.parameters import Parameters

CHANGES: dict[str, Any] = {
    "closed_loop": {"rounds": 2, "probe_images": 1, "temperature": 0.05},
    "synthesis__candidates": 1, "synthesis__n_images": 4, "training__selection": "last", "sampling__gate__enabled": False,
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def chosen(**changes: Any) -> Parameters:
    return settings(**{**CHANGES, **changes})


@pytest.fixture(scope="module")
def generator(tiny_ldm: Path) -> Generator:
    return Generator.open(tiny_ldm)


@pytest.fixture
def source(tiny_manifest: pd.DataFrame, tiny_streets: Path) -> TrainingData:
    return TrainingData(tiny_manifest[tiny_manifest["role"] == "source"], tiny_streets)


def model_hash(outcome: Outcome) -> str:
    return json.dumps([(outcome.trained.folder / "model.safetensors").read_bytes().hex()[:4000],
                       outcome.trained.history["loss"].tolist()])


def test_the_loop_keeps_the_budget_and_resumes_wherever_it_was_killed(
        source: TrainingData, generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_closed_loop("drsf", chosen(), source, generator, tmp_path / "whole")
    table, params = whole.allocation, chosen()
    assert list(table["domain"].unique()) == [*params.synthesis.domains, "composed"]
    # Four scenes in four domains make 16 images; 4 are probes, and the rest is divided evenly over the rounds.
    assert table.groupby("round")["images"].sum().to_dict() == {1: 6, 2: 6}
    card = read_card(whole.trained.folder)[1]
    assert card["images_generated"] == 4 * 4 * 1
    assert card["label"] == "drsf_closed_loop"
    assert len(whole.trained.history) == params.training.max_steps
    assert {*COLUMNS, *PSEUDO_COLUMNS, *SAMPLED_COLUMNS} <= set(whole.pseudo.columns)
    assert all((whole.rounds / image).is_file() for image in whole.pseudo["image"])
    assert set(whole.pseudo["source_image_id"]) <= set(source.source.query("split == 'train'")["image_id"])
    assert set(pd.read_parquet(whole.rounds / "probes/manifest.parquet")["source_image_id"]) <= set(
        source.source.query("split == 'val'")["image_id"])

    for name in ("synthesise", "sample", "measure"):
        real, calls = getattr(module, name), []

        def killed(*args: Any, real: Any = real, calls: list = calls, **more: Any) -> Any:
            calls.append(None)
            if len(calls) == 2:
                raise Killed
            return real(*args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(Killed):
                run_closed_loop("drsf", chosen(), source, generator, tmp_path / name)
        resumed = run_closed_loop("drsf", chosen(), source, generator, tmp_path / name)
        assert model_hash(resumed) == model_hash(whole)
        pd.testing.assert_frame_equal(resumed.allocation, whole.allocation)
        assert folder_hash(resumed.rounds / "round2") == folder_hash(whole.rounds / "round2")
