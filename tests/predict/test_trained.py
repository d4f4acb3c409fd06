"""A trained model in three lines, and as a command: what it tells, what it saves, what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import dg_project
from dg_project.config import Task
from dg_project.core.errors import CheckpointError, DataError, ParameterError
from dg_project.core.model_versions import MODELS, ZOO, newest_model
from dg_project.methods.model_choice import describe_model, doubts
from dg_project.predict.command import main
from dg_project.predict.trained import TrainedModel, load

Models = dict[Task, Path]


@pytest.fixture
def versions(models: Models, tmp_path: Path) -> Path:
    """A folder of versions, as the catalog keeps them; the newest one is the detector."""
    for version, task in (("2026-01-01T00.00.00.000Z", "classification"), ("2026-02-01T00.00.00.000Z", "detection")):
        shutil.copytree(models[task], tmp_path / "model" / version / "model")
    return tmp_path / "model"


def test_newest_model(versions: Path) -> None:
    newest = versions / "2026-02-01T00.00.00.000Z" / "model"
    assert newest_model(versions) == newest_model(newest.parent) == newest_model(newest) == newest
    with pytest.raises(CheckpointError, match=r"'/nowhere' holds no trained model; give a folder with 'model\.json'"):
        newest_model(Path("/nowhere"))


def test_project_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no trained model in 'data/06_models/model' yet.*make run"):
        load()


def test_shipped_models(models: Models, versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("streets_drsf", "streets_erm"):
        shutil.copytree(models["detection"], ZOO / name)
    assert newest_model(MODELS) == ZOO / "streets_drsf"  # before a first model is trained
    assert newest_model(Path("streets_erm")) == ZOO / "streets_erm"
    assert "(ships with the project; make run trains your own)" in describe_model(ZOO / "streets_erm")
    with pytest.raises(CheckpointError, match=r"the name of a shipped model \(streets_drsf, streets_erm\)"):
        newest_model(Path("streets_ern"))
    shutil.copytree(versions, MODELS)
    assert newest_model(MODELS).parents[1] == MODELS


def test_three_lines(versions: Path, folder: Path, tmp_path: Path) -> None:
    found = load(versions)(folder / "test_000.jpg", folder / "val_001.jpg", score_threshold=0.2)
    out = found.save(tmp_path / "out")
    assert len(found) == 2
    assert [row["name"] for row in found] == ["test_000.jpg", "val_001.jpg"]
    row = next(iter(found))
    assert len(row["boxes"]) == len(row["scores"]) == len(row["classes"]) > 0
    assert set(row["classes"]) <= set(load(versions).spec.classes)
    assert {path.name for path in out.iterdir()} == {"drawn", "coco.json", "predictions.csv"}
    assert found.drawn_in(out) == out / "drawn"
    assert found.save(out) == out  # again into the same folder


@pytest.mark.parametrize(("task", "key"), [("classification", "class"), ("segmentation", "mask")])
def test_rows_of_other_tasks(models: Models, folder: Path, task: Task, key: str) -> None:
    assert key in next(iter(load(models[task])(folder / "test_000.jpg")))


def test_unreadable_images_are_named(models: Models, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    model = load(models["detection"])
    assert "broken.jpg: it is truncated or no image" in model(broken, folder / "test_000.jpg").summary["problems"][0]
    with pytest.raises(DataError, match=r"no image could be read: .*broken\.jpg"):
        model(broken)
    with pytest.raises(DataError, match=r"would both be named 'test_000\.jpg'"):
        model(folder, folder / "test_000.jpg")
    with pytest.raises(DataError, match="no image is named"):
        model()


def test_draw_in_memory(models: Models) -> None:
    drawn, row = load(models["detection"]).draw(torch.zeros(3, 64, 96, dtype=torch.uint8), score_threshold=0.2)
    assert drawn.shape == (3, 192, 288)
    assert len(row["labels"]) == 0 or drawn.any()


def test_method_that_needs_the_diffusion_model(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    from dg_project.methods.base import Needs
    from dg_project.methods.drsf.method import DRSF

    monkeypatch.setattr(DRSF, "needs", Needs(batches="paired", ldm="prediction"))
    with pytest.raises(ParameterError, match="only the pipeline opens: kedro run --pipeline=predict"):
        TrainedModel(models["detection"])


def test_what_is_told_about_a_model(models: Models, tmp_path: Path) -> None:
    model = Path(shutil.copytree(models["detection"], tmp_path / "model"))
    assert describe_model(model) == f"drsf for detection, step 2 of 2: {model}"
    assert doubts(model) == ("the model was trained for 2 steps (the project's default: 300); name another one if you "
                             "meant another")
    card = json.loads((model / "model.json").read_text())
    card["meta"] |= {"max_steps": 300, "step": 200, "score": 0.6641, "selection": "source_val", "environment": "smoke"}
    (model / "model.json").write_text(json.dumps(card))
    assert describe_model(model) == f"drsf for detection, step 200 of 300, source_val 66.4: {model}"
    assert doubts(model).startswith("the model was trained in the environment 'smoke', not in 'local';")
    assert doubts(model, "smoke") == ""


def test_command(models: Models, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    out = tmp_path / "out"
    arguments = [str(folder / "test_000.jpg"), "--model", str(models["detection"]), "--out", str(out), "--score", "0.2"]
    assert main(arguments) == 0
    for said in ("model    drsf for detection, step 2 of 2", "warning  the model was trained for 2 steps", "found    ",
                 f"drawn    {out}/drawn/test_000.jpg"):
        assert said in caplog.text, said
    assert Image.open(out / "drawn" / "test_000.jpg").size == (288, 192)


@pytest.mark.parametrize(("arguments", "said"), [
    (["nowhere.jpg"], "DataError: 'nowhere.jpg' does not exist"),
    (["empty"], "DataError: 'empty' has no image"),
    (["test_000.jpg", "--model", "empty"], "CheckpointError: 'empty' holds no trained model"),
])
def test_command_refuses_in_one_line(models: Models, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     caplog: pytest.LogCaptureFixture, arguments: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copy(folder / "test_000.jpg", tmp_path)
    assert main(["--model", str(models["detection"]), *arguments]) == 1
    last = caplog.messages[-1]
    assert said in last
    assert "\n" not in last


def test_import_is_light() -> None:
    """``import dg_project`` and a wrong folder need no torch; ``load`` is there all the same."""
    code = ("import sys, dg_project; from dg_project.predict.command import main; print(main(['a', '--model', 'b']));"
            "print(sorted({'torch', 'kedro', 'mlflow', 'pandas'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1", "[]"]
    assert dg_project.load is load
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = dg_project.lod
