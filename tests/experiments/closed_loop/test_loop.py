"""The loop on generated streets with a random diffusion model: budget, resumption, and what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_settings import settings

from dg_project.config import Settings
from dg_project.core.errors import DataError, ParameterError
from dg_project.core.files import file_hash
from dg_project.data.manifest import COLUMNS, PSEUDO_COLUMNS, SAMPLED_COLUMNS
from dg_project.diffusion.generator import Generator
from dg_project.experiments.closed_loop import loop as module
from dg_project.experiments.closed_loop.loop import Painter, run_closed_loop
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun
from dg_project.methods.model_folder import WEIGHTS, read_card

CHANGES: dict[str, Any] = {
    "closed_loop": {"rounds": 2, "probe_images": 1, "temperature": 0.05},
    "synthesis__candidates": 1, "synthesis__n_images": 4, "training__selection": "last",
    "sampling__gate__enabled": False,
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def chosen(**changes: Any) -> Settings:
    return settings(**{**CHANGES, **changes})


def made(rounds: Path) -> dict[str, str]:
    """What the rounds left, but for the time that it took."""
    def content(path: Path) -> str:
        if path.suffix != ".parquet":
            return file_hash(path)
        return pd.read_parquet(path).drop(columns="ldm_seconds").to_json()

    return {str(path.relative_to(rounds)): content(path) for path in sorted(rounds.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def painter(tiny_ldm: Path) -> Painter:
    return Painter(Generator.open(tiny_ldm))


@pytest.fixture
def source(tiny_manifest: pd.DataFrame, tiny_streets: Path) -> TrainingData:
    return TrainingData(tiny_manifest[tiny_manifest["role"] == "source"], tiny_streets)


def test_loop_keeps_budget_and_resumes_after_kill(
        source: TrainingData, painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_closed_loop("drsf", chosen(), source, painter, tmp_path / "whole")
    table, params = whole.allocation, chosen()
    assert list(table["domain"].unique()) == [*params.synthesis.domains, "composed"]
    # Four scenes in four domains make 16 images; 4 are probes, and the rest is divided evenly over the rounds.
    assert table.groupby("round")["images"].sum().to_dict() == {1: 6, 2: 6}
    card = read_card(whole.trained.folder)[1]
    assert card["images_generated"] == 4 * 4 * 1
    assert card["label"] == "drsf_closed_loop"
    assert card["ldm_seconds"] > 0
    assert len(whole.trained.history) == params.training.max_steps
    assert {*COLUMNS, *PSEUDO_COLUMNS, *SAMPLED_COLUMNS} <= set(whole.pseudo.columns)
    assert all((whole.rounds / image).is_file() for image in whole.pseudo["image"])
    assert set(whole.pseudo["source_image_id"]) <= set(source.source.query("split == 'train'")["image_id"])
    assert set(pd.read_parquet(whole.rounds / "probes/manifest.parquet")["source_image_id"]) <= set(
        source.source.query("split == 'val'")["image_id"])

    for name, call in (("synthesise", 2), ("sample", 2), ("measure", 2)):  # in the probes, in round 1, after round 2
        real, calls = getattr(module, name), []

        def killed(*args: Any, real: Any = real, calls: list = calls, call: int = call, **more: Any) -> Any:
            calls.append(None)
            if len(calls) == call:
                raise Killed
            return real(*args, **more)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(Killed):
                run_closed_loop("drsf", chosen(), source, painter, tmp_path / "killed")
    resumed = run_closed_loop("drsf", chosen(), source, painter, tmp_path / "killed")
    assert file_hash(resumed.trained.folder / WEIGHTS) == file_hash(whole.trained.folder / WEIGHTS)
    assert made(resumed.rounds) == made(whole.rounds)
    pd.testing.assert_frame_equal(resumed.allocation, whole.allocation)


@pytest.mark.parametrize(("method", "changes", "drop", "error", "message"), [
    ("erm", {}, "", ParameterError, "trains on the source alone"),
    ("drsf_uda", {}, "", ParameterError, "adapts to unlabelled target images"),
    ("drsf", {"training__selection": "leave_one_pseudo_out"}, "", ParameterError, "set it to source_val"),
    ("drsf", {"closed_loop__probe_images": 4}, "", ParameterError, "lower closed_loop.probe_images"),
    ("drsf", {"synthesis__domains__composed": {"prompt": "a street"}}, "", ParameterError, "rename the domain"),
    ("drsf", {"training__max_steps": 1}, "", ParameterError, "raise training.max_steps"),
    ("drsf", {}, "val", DataError, "give data.splits.val"),
])
def test_loop_refuses_before_the_first_image(
        source: TrainingData, painter: Painter, tmp_path: Path, method: str, changes: dict[str, Any], drop: str,
        error: type[Exception], message: str) -> None:
    data = TrainingData(source.source[source.source["split"] != drop], source.source_root)
    with pytest.raises(error, match=message):
        run_closed_loop(method, chosen(**changes), data, painter, tmp_path / "work")
    assert not list(tmp_path.glob("work/**/*.png"))


def test_training_in_parts_refuses_float16(source: TrainingData, tmp_path: Path) -> None:
    params = chosen(task="classification", training__precision="float16", training__batches="mixed")
    with pytest.raises(ParameterError, match="use bfloat16"):
        TrainingRun.resolve_in_parts("dadg", params, source, ["night"], tmp_path)
