"""What a finished training is addressed by: everything that determines it, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from run_settings import settings

from dg_project.core.errors import DataError, ParameterError
from dg_project.core.files import fingerprint
from dg_project.experiments.scoring import nested
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun, key_inputs
from dg_project.methods import method_class
from dg_project.methods.model_folder import WEIGHTS, ModelSpec

Pseudo = tuple[Path, pd.DataFrame]


def address(method: str, source: pd.DataFrame, pseudo: pd.DataFrame | None, **changes: Any) -> str:
    chosen, kind = settings(**changes), method_class(method)
    spec = ModelSpec.of(kind, chosen, ["daytime_clear", "night"])
    seen = TrainingData(source, Path(), pseudo, Path()).as_seen(spec, chosen.sampling.gate.least_visibility(spec.task))
    return fingerprint(*key_inputs(spec, chosen, seen))


def test_gate_off_drops_no_object(tiny_pseudo: Pseudo, tiny_manifest: pd.DataFrame) -> None:
    faint = tiny_pseudo[1].assign(visibility=[[0.05] * len(boxes) for boxes in tiny_pseudo[1]["boxes"]], kept=True)
    for enabled in (True, False):
        chosen = settings(task="classification", sampling__gate={"enabled": enabled, "min_visibility": 0.2})
        spec = ModelSpec.of(method_class("naive"), chosen, ["daytime_clear", "night", "fog"])
        least = chosen.sampling.gate.least_visibility(spec.task)
        seen = TrainingData(tiny_manifest, Path(), faint, Path()).as_seen(spec, least)
        assert seen.pseudo is not None
        assert set(seen.pseudo["kept"]) == {not enabled}


@pytest.mark.parametrize(("task", "ignore", "hard"), [
    ("detection", True, True), ("detection", False, False), ("segmentation", True, False)])
def test_lost_boxes_are_ignored_by_a_detector(tiny_pseudo: Pseudo, tiny_manifest: pd.DataFrame, task: str,
                                              ignore: bool, hard: bool) -> None:
    faint = tiny_pseudo[1].assign(visibility=[[0.05, *[0.9] * (len(boxes) - 1)][:len(boxes)]
                                              for boxes in tiny_pseudo[1]["boxes"]])
    chosen = settings(task=task, sampling__gate={"min_visibility": 0.2, "ignore_lost": ignore})
    spec = ModelSpec.of(method_class("naive"), chosen, ["daytime_clear", "night", "fog"])
    data = TrainingData(tiny_manifest, Path(), faint, Path())
    seen = data.as_seen(spec, chosen.sampling.gate.least_visibility(spec.task)).pseudo
    assert seen is not None
    before = [row for row in faint["difficult"] if len(row)]
    after = [row for row in seen["difficult"] if len(row)]
    assert [bool(row[0]) for row in after] == [hard or bool(row[0]) for row in before]
    assert [list(row[1:]) for row in after] == [list(row[1:]) for row in before]


@pytest.mark.parametrize("change", [
    {"seed": 1}, {"training__lr": 1e-4}, {"training__max_steps": 7}, {"drsf__lambda_align": 0.5},
    {"detection__fpn_channels": 8}, {"backbone__frozen_stages": 1}, {"task": "segmentation"},
    {"task": "classification"}, {"training__precision": "bfloat16"}, {"training__accumulate": 2},
])
def test_key_changes_with_the_model(tiny_manifest: pd.DataFrame, tiny_pseudo: Pseudo,
                                                    change: dict[str, Any]) -> None:
    before = address("drsf", tiny_manifest, tiny_pseudo[1])
    assert address("drsf", tiny_manifest, tiny_pseudo[1]) == before
    assert address("drsf", tiny_manifest, tiny_pseudo[1], **change) != before


@pytest.mark.parametrize("change", [
    {"training__device": "cuda"}, {"training__threads": 2}, {"training__checkpoint_every": 1}, {"mixstyle__p": 0.9},
    {"evaluation__max_images": 1}, {"drsf__lambda_align": 0.02}, {"workspace": "elsewhere"},
])
def test_key_ignores_what_does_not_change_the_model(tiny_manifest: pd.DataFrame, tiny_pseudo: Pseudo,
                                                 change: dict[str, Any]) -> None:
    assert address("drsf", tiny_manifest, tiny_pseudo[1], **change) == address("drsf", tiny_manifest, tiny_pseudo[1])


def test_key_covers_images_labels_gate_not_targets(tiny_manifest: pd.DataFrame, tiny_pseudo: Pseudo) -> None:
    pseudo = tiny_pseudo[1]
    before = address("drsf", tiny_manifest, pseudo)
    relabelled = tiny_manifest.assign(labels=[[1] * len(row) for row in tiny_manifest["labels"]])
    assert address("drsf", relabelled, pseudo) != before
    assert address("drsf", tiny_manifest, pseudo.assign(kept=[False] + [True] * (len(pseudo) - 1))) != before
    assert address("drsf", tiny_manifest[tiny_manifest["split"] != "test"], pseudo) == before


@pytest.mark.parametrize("wanted", [True, False])
def test_compile_compiles_the_network(tiny_manifest: pd.DataFrame, tiny_streets: Path, tmp_path: Path, wanted: bool,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled.append(self))
    chosen = settings(training__compile=wanted, training__max_steps=1, training__device="cpu",
                      training__selection="last")
    run = TrainingRun.resolve("erm", chosen, TrainingData(tiny_manifest, tiny_streets), tmp_path)
    run.train()
    assert compiled == ([run.method.model.backbone.network] if wanted else [])


def test_reference_is_trained_first_and_once(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_pseudo: Pseudo,
                                             tmp_path: Path) -> None:
    quick = {"training__max_steps": 1, "training__device": "cpu", "training__selection": "last"}
    asked = settings(drsf__lambda_con=1.0, drsf__reference="source", **quick)
    pseudo = tiny_pseudo[1].assign(candidates=1, ldm_seconds=0.1)
    data = TrainingData(tiny_manifest, tiny_streets, pseudo, tiny_pseudo[0])
    run, plain = TrainingRun.resolve("drsf", asked, data, tmp_path), settings(**quick)
    erm = TrainingRun.resolve("erm", plain, TrainingData(tiny_manifest, tiny_streets), tmp_path)
    assert run.reference is not None
    assert run.reference.folder == erm.folder, "the baseline of a run is its reference"
    trained = run.train()
    assert erm.finished.is_dir()
    assert "loss_con" in trained.history
    other = TrainingRun.resolve("drsf", asked.model_copy(update={"seed": 1}), data, tmp_path)
    assert other.folder != run.folder
    assert TrainingRun.resolve("drsf", plain, data, tmp_path).reference is None


def test_missing_pseudo_domains(tiny_manifest: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="trains on pseudo domains"):
        TrainingRun.resolve("drsf", settings(), TrainingData(tiny_manifest, tmp_path), tmp_path)


def test_unknown_method(tiny_manifest: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="Did you mean 'drsf'"):
        TrainingRun.resolve("drfs", settings(), TrainingData(tiny_manifest, tmp_path), tmp_path)


@pytest.mark.parametrize(("name", "change", "message"), [
    ("domainfusion", {"training__accumulate": 3, "training__images_per_step": 4}, "set it to 2 or less"),
    ("mode_f", {"training__precision": "float16"}, "use bfloat16"),
])
def test_unsupported_settings_stop_before_training(name: str, change: dict[str, Any], message: str,
                                                            tiny_manifest: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=message):
        TrainingRun.resolve(name, settings(**change), TrainingData(tiny_manifest, tmp_path), tmp_path)


def test_records_become_nested_numbers() -> None:
    records = pd.DataFrame([("mAP", "fog", 0.1), ("mAP", "night", 0.2), ("mAP@50", "fog", 0.3)],
                           columns=["metric", "domain", "value"])
    assert nested(records) == {"mAP": {"fog": 0.1, "night": 0.2}, "mAP@50": {"fog": 0.3}}


def test_two_processes_equal_one(tiny_streets: Path, tiny_manifest: pd.DataFrame,
                                                       tiny_pseudo: Pseudo, tmp_path: Path) -> None:
    root, pseudo = tiny_pseudo
    data = TrainingData(tiny_manifest, tiny_streets, pseudo.assign(candidates=1), root)
    trained = {}
    for processes in (1, 2):
        chosen = settings(training__accumulate=2, training__processes=processes, training__images_per_step=6,
                          training__max_steps=2, training__device="cpu", backbone__frozen_bn=True,
                          synthesis__domains={"night": {"prompt": "night"}, "fog": {"prompt": "fog"}})
        trained[processes] = TrainingRun.resolve("drsf", chosen, data, tmp_path / f"workspace{processes}").train()
    one, two = trained[1], trained[2]
    assert two.folder.parent.name == one.folder.parent.name, "the number of processes is no part of the address"
    assert (two.folder / WEIGHTS).read_bytes() == (one.folder / WEIGHTS).read_bytes()
    pd.testing.assert_frame_equal(two.history.drop(columns="seconds"), one.history.drop(columns="seconds"))
    assert two.history["loss_adv_image"].notna().all(), "pairs stayed together"
    assert two.history["source_val"].notna().sum() == 1
    assert {path.name for path in two.folder.parent.iterdir()} == {"model", ".lock", "code.json"}
