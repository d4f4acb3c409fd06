"""Benchmark and ablation: rows x seeds, shared by processes, collected without training, nothing synthesised anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dg_project.config import GateParams, GridParams, Settings
from dg_project.core.cache import BusyError
from dg_project.core.errors import DataError, ParameterError
from dg_project.evaluation.records import COLUMNS
from dg_project.experiments import grid, training_run
from dg_project.experiments.training_data import TrainingData
from dg_project.pseudo.gate import regate
from dg_project.reports.results_page import main

Run = tuple[Any, str]


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
            and path.name not in (".lock", "node_seconds.json")}


def refuse(*_: Any) -> None:
    raise AssertionError("nothing is left to train")


def test_benchmark_collect(drsf_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    project, _ = drsf_run
    with pytest.raises(DataError, match=r"collect: 4 of 4 cells were not trained .*erm/seed5, naive/seed5, erm/seed6"):
        project.run("benchmark", benchmark={"collect": True, "seeds": [5, 6]})
    project.run("benchmark", benchmark={"seeds": [5]})
    project.run("benchmark", benchmark={"seeds": [6]})
    cells = files(project.data / ".workspace")
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "_train", refuse)
        version = project.run("benchmark", benchmark={"collect": True, "seeds": [5, 6]})
    assert files(project.data / ".workspace") == cells
    records, table = project.load("benchmark_records", version), project.load("benchmark_table", version)
    assert list(records.columns) == list(COLUMNS)
    assert sorted(records.groupby(["method", "seed"]).groups) == [("erm", 5), ("erm", 6), ("naive", 5), ("naive", 6)]
    assert (records["inference_ms"] > 0).all()
    assert set(table["method"]) == {"erm", "naive"}
    assert {"unseen_mean", "unseen_mean_low", "unseen_mean_high", "gain", "gain_over_naive", "seconds_per_step",
            "images_generated", "peak_memory_mb"} <= set(table.columns)
    assert any(key.startswith("naive/seed5/mAP50/") for key in project.tracked(version).data.metrics)
    (project.root / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    shutil.copytree(project.data / "07_model_output", project.root / "data/07_model_output")  # no record of its own
    assert main(["--record", "tiny"], project.root) == 0
    facts = json.loads((project.root / "benchmarks/results/tiny.json").read_text())
    assert facts["run"] == version
    assert facts["parameters"]["training"]["max_steps"] == 6
    assert "6 steps of 4 images" in (project.root / "docs/results/detection.md").read_text()


def test_ablation_reuses_the_synthesis(drsf_run: Run) -> None:
    project, _ = drsf_run
    before = files(project.data / ".workspace/synthesis")
    version = project.run("ablation")
    assert files(project.data / ".workspace/synthesis") == before
    records = project.load("ablation_records", version)
    first = records.drop_duplicates("method").set_index("method")
    assert set(first.index) == {"erm", "dfdr", "naive_gate_off", "k1"}
    assert first["images_generated"].to_dict() == {"erm": 0, "dfdr": 32, "naive_gate_off": 32, "k1": 8}
    assert first.loc["dfdr", "inference_parameters"] > first.loc["erm", "inference_parameters"]
    assert first.loc["naive_gate_off", "inference_parameters"] == first.loc["erm", "inference_parameters"]
    overrides = json.loads(first.loc["dfdr", "overrides"])
    assert overrides["method"] == "drsf"
    assert {"grl_image": 0, "grl_instance": 0}.items() <= overrides["drsf"].items()
    assert json.loads(first.loc["k1", "overrides"])["domains"] == ["night"]
    card = json.loads((project.load("ablation_models", version) / "k1/seed0/model.json").read_text())
    assert card["spec"]["domains"] == ["daytime_clear", "night"]


def test_benchmark_closed_loop_row(drsf_run: Run,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    project, _ = drsf_run
    rows = {"closed": {"method": "naive", "loop": "closed", "params": {"closed_loop": {"compositions": 0}}}}
    chosen = {"methods": ["erm", "naive"], "rows": rows, "seeds": [0]}
    with pytest.raises(DataError, match=r"cells were not trained .*closed/seed0"):
        project.run("benchmark", benchmark={**chosen, "collect": True})
    project.run("benchmark", benchmark=chosen)
    cells = files(project.data / ".workspace")
    monkeypatch.setattr(training_run.TrainingRun, "_fit", refuse)
    version = project.run("benchmark", benchmark={**chosen, "collect": True})
    assert files(project.data / ".workspace") == cells
    first = project.load("benchmark_records", version).drop_duplicates("method").set_index("method")
    assert first["images_generated"].to_dict() == {"erm": 0, "naive": 32, "closed": 32}
    assert json.loads(first.loc["closed", "overrides"]) == {"method": "naive", "loop": "closed",
                                                            "closed_loop": {"compositions": 0}}
    card = json.loads((project.load("benchmark_models", version) / "closed/seed0/model.json").read_text())
    assert card["meta"]["rounds"] == 2
    assert "composed" not in card["spec"]["domains"]


@pytest.mark.parametrize(("pipeline", "parameters"), [
    ("benchmark", {"benchmark": {"rows": {"closed": {"method": "mixstyle", "loop": "closed"}}}}),
    ("closed_loop", {"method": "erm"}),
])
def test_closed_loop_refuses_source_methods(
        drsf_run: Run, pipeline: str, parameters: dict[str, Any]) -> None:
    project, _ = drsf_run
    before = files(project.root / "data")
    with pytest.raises(ParameterError, match="trains on the source alone, so there are no images to steer"):
        project.run(pipeline, **parameters)
    assert files(project.root / "data") == before


def test_busy_cells_come_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                    settings: Settings) -> None:
    asked: list[tuple[str, int, bool]] = []

    class Run:
        def __init__(self, name: str, cell: Settings) -> None:
            self.name, self.seed = name, cell.seed

        def train(self, wait: bool) -> training_run.Trained:
            asked.append((self.name, self.seed, wait))
            if (self.name, self.seed) == ("erm", 0) and not wait:
                raise BusyError
            return training_run.Trained(tmp_path / self.name, None)  # type: ignore[arg-type]

    monkeypatch.setattr(grid.TrainingRun, "resolve", lambda name, cell, *_: Run(name, cell))
    done = grid.train_cells(settings, GridParams(methods=["erm", "naive"], seeds=[0, 1]),
                            TrainingData(None, tmp_path), tmp_path)  # type: ignore[arg-type]
    assert asked == [("erm", 0, False), ("naive", 0, False), ("erm", 1, False), ("naive", 1, False), ("erm", 0, True)]
    assert list(done) == ["erm/seed0", "naive/seed0", "erm/seed1", "naive/seed1"]


@pytest.fixture
def settings(drsf_run: Run) -> Settings:
    """The parameters of the project."""
    project, _ = drsf_run
    with project.session() as session:
        return Settings.model_validate(session.load_context().config_loader["parameters"])


def test_regate(drsf_run: Run) -> None:
    project, version = drsf_run
    pseudo = project.load("pseudo_manifest", version)
    made_with = GateParams(min_visibility=-1)
    assert regate(pseudo, None, made_with, made_with) is pseudo
    again = regate(pseudo, None, GateParams(enabled=False), made_with)
    assert again[["weight", "kept", "reason"]].equals(pseudo[["weight", "kept", "reason"]])
    strict = regate(pseudo, ["fog"], made_with, GateParams(min_visibility=1, drop_below=1))
    assert set(strict["domain"]) == {"fog"}
    assert not strict["kept"].any()
    assert strict["reason"].str.startswith("0 of ").all()
    assert regate(strict, None, GateParams(min_visibility=1, drop_below=1), GateParams(enabled=False))["kept"].all()
