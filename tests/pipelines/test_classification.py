"""SCMD on object crops, its teacher's training, and leave-one-domain-out: whole runs on generated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpus_fixture import build_corpus
from folders_fixture import build_folders

from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.pretraining.clip.card import weather_of

TARGETS = {"night_clear", "dusk_rainy", "night_rainy", "daytime_foggy"}


def smoke(clip: Path) -> dict[str, Any]:
    return {"scmd": {"teacher": str(clip), "embedding_size": 8, "average_from": 2},
            "classification": {"image_size": [32, 32], "min_side": 6}, "training": {"images_per_step": 8}}


def test_scmd_run(project: Any, clip: Path) -> None:
    version = project.run("scmd", **smoke(clip))
    results = project.load("results", version)
    assert set(results["method"]) == {"erm", "scmd"}
    assert set(results["task"]) == {"classification"}
    assert set(results["domain"]) == {"daytime_clear", "unseen_mean"} | TARGETS
    teacher = project.load("teacher_results", version)
    assert set(teacher["method"]) == {"teacher"}
    assert len(teacher) == len(results) // 2
    history = project.load("history", version)
    assert {"loss_classification", "loss_logit", "loss_cross", "log_teacher_right"} <= set(history.columns)
    tracked = project.tracked(version)
    assert (tracked.data.params["task"], tracked.data.params["method"]) == ("classification", "scmd")
    assert tracked.data.params["training.images_per_step"] == "8", "--params has the last word"
    assert "teacher/accuracy/unseen_mean" in tracked.data.metrics
    drawn = {a.path for a in project.mlflow().list_artifacts(tracked.info.run_id, "figures")}
    assert "figures/hard_samples.png" in drawn
    assert "<figcaption>Hard samples</figcaption>" in project.load("report", version)
    assert len(list((project.data / ".workspace/teacher").rglob("part*.safetensors"))) == 1


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"embedding_size": 512}, ParameterError, r"has embeddings of 8 numbers: set scmd\.embedding_size=8"),
    ({"teacher": "data/nowhere/at/all"}, CheckpointError, "nowhere"),
])
def test_wrong_teacher_stops_the_run_early(project: Any, clip: Path, changes: dict[str, Any],
                                                           error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        project.run("scmd", **{**smoke(clip), "scmd": smoke(clip)["scmd"] | changes})
    assert not (project.data / "02_intermediate").exists()


def test_leave_one_out_run_and_rerun(project: Any, clip: Path) -> None:
    build_folders(project.root / "data/01_raw/animals", 5)
    given = smoke(clip) | {"data": {"root": "data/01_raw/animals"}, "method": "scmd",
                           "leave_one_out": {"seeds": [0], "images_per_domain": 2, "methods": ["scmd", "domainfusion"]}}
    version = project.run("leave_one_out", **given)
    table = project.load("left_out_table", version)
    assert table["method"].tolist() == ["erm", "scmd", "domainfusion"]
    assert table.set_index("method").loc["domainfusion", "images_generated"] > 0
    assert {"art", "photo", "sketch", "unseen_mean", "gain"} <= set(table.columns)
    records = project.load("left_out_records", version)
    assert set(records.loc[records["domain"] == "art", "source"]) == {"photo+sketch"}
    models = {p: p.stat().st_mtime_ns for p in (project.data / ".workspace").rglob("*.safetensors")}
    again = project.load("left_out_records", project.run("leave_one_out", **given))
    assert again["value"].tolist() == records["value"].tolist()
    assert {p: p.stat().st_mtime_ns for p in models} == models


def test_leave_one_out_checks_the_diffusion_model(project: Any) -> None:
    build_folders(project.root / "data/01_raw/animals", 5)
    with pytest.raises(CheckpointError, match="nowhere"):
        project.run("leave_one_out", method="domainfusion", ldm={"checkpoint": "data/nowhere/at/all"},
                    data={"root": "data/01_raw/animals"})
    assert not (project.data / ".workspace").exists()


def test_pretrain_teacher(project: Any) -> None:
    build_corpus(project.root / "data/01_raw/streets_corpus", 10)
    version = project.run("pretrain_teacher", pretrain_teacher={"steps": 3, "size": 8, "hidden": 8})
    folder = project.load("trained_teacher", version)
    card = (folder / "README.md").read_text()
    assert "is not CLIP" in card
    assert "| all |" in card
    from dg_project.vlm import open_teacher

    assert open_teacher(str(folder)).size == 8


def test_pretrain_teacher_on_day_only(project: Any) -> None:
    build_corpus(project.root / "data/01_raw/streets_corpus", 10)
    tiny = {"steps": 3, "size": 8, "hidden": 8}
    version = project.run("pretrain_teacher", pretrain_teacher={**tiny, "weathers": ["day"]})
    assert {weather_of(caption) for caption in project.load("teacher_crops", version)["caption"]} == {"day"}
    assert len({weather_of(caption) for caption in project.load("held_out_crops", version)["caption"]}) > 1
    assert "trained on day weather only" in (project.load("trained_teacher", version) / "README.md").read_text()
