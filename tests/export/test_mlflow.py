"""An exported MLflow model, loaded by MLflow, predicts what the trained model predicts, in every task."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from dg_project.config import Task
from dg_project.data.images import load_image
from dg_project.export.parity import TOLERANCE
from dg_project.methods.model_folder import build_method, load_model, read_card, save_model
from dg_project.pipelines.export.mlflow_model import pyfunc_parity, save_pyfunc

COLUMNS: dict[Task, list[str]] = {
    "detection": ["boxes", "labels", "scores", "classes"],
    "instance_segmentation": ["boxes", "labels", "scores", "masks", "classes"],
    "segmentation": ["mask"], "classification": ["probabilities", "class"],
}


@pytest.fixture(scope="module")
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three JPEGs of the data set and two PNGs of other shapes: one grey, one of a single colour."""
    others = tmp_path_factory.mktemp("others")
    with Image.open(folder / "test_000.jpg") as image:
        image.convert("L").resize((70, 110)).save(others / "grey.png")
    Image.new("RGB", (50, 40)).save(others / "black.png")
    return [*sorted(folder.glob("test_*.jpg"))[:3], others / "grey.png", others / "black.png"]


@pytest.fixture(scope="module", params=COLUMNS)
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


@pytest.fixture(scope="module")
def exported(task: Task, models: dict[Task, Path], files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the MLflow model of the task."""
    target = tmp_path_factory.mktemp(task) / "mlflow"
    save_pyfunc(models[task], target, load_image(files[0]).float() / 255)
    return target


@pytest.fixture(scope="module")
def served(exported: Path) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(str(exported))


@pytest.fixture(scope="module")
def trained(task: Task, models: dict[Task, Path], files: list[Path]) -> list[dict[str, Tensor]]:
    method = load_model(models[task])
    with torch.no_grad():
        return [method.predict([load_image(file).float() / 255])[0] for file in files]


def test_loaded_model_predicts_as_trained(
        task: Task, models: dict[Task, Path], served: Any, trained: list[dict[str, Tensor]], files: list[Path]) -> None:
    answer = served.predict(pd.DataFrame({"image": [file.read_bytes() for file in files]}))
    assert list(answer.columns) == COLUMNS[task] == served.metadata.signature.outputs.input_names()
    assert len(answer) == len(trained) == 5
    for row, wanted in zip(answer.to_dict("records"), trained, strict=True):
        compare(row, wanted)
        compare_names(row, read_card(models[task])[0].classes)
    if "scores" in answer:
        assert sum(map(len, answer["scores"])) > 5


def compare(row: dict[str, Any], wanted: dict[str, Tensor]) -> None:
    """Check that a row of the answer equals a prediction of the trained model."""
    for name in {"boxes", "scores", "probabilities"} & wanted.keys():
        found = np.asarray(row[name], np.float32).reshape(wanted[name].shape)
        np.testing.assert_allclose(found, wanted[name].numpy(), rtol=0, atol=TOLERANCE)
    if "labels" in wanted:
        assert row["labels"] == wanted["labels"].tolist()
    if "masks" in wanted:
        height, width = wanted["masks"].shape[-2:]
        found = [coco_mask.decode({"size": [height, width], "counts": counts}) for counts in row["masks"]]
        assert len(found) == len(wanted["masks"])
        assert all(np.array_equal(one, other) for one, other in zip(found, wanted["masks"].numpy(), strict=True))
    if "mask" in wanted:
        with Image.open(io.BytesIO(row["mask"])) as image:
            np.testing.assert_array_equal(np.array(image), wanted["mask"].numpy())


def compare_names(row: dict[str, Any], classes: list[str]) -> None:
    """Labels are 1-based, probabilities in the order of the classes."""
    if "labels" in row:
        assert row["classes"] == [classes[label - 1] for label in row["labels"]]
    if "probabilities" in row:
        assert row["class"] == classes[int(np.argmax(row["probabilities"]))]


def test_http_predictions_equal_trained(served: Any, trained: list[dict[str, Tensor]], files: list[Path]) -> None:
    from mlflow.pyfunc.scoring_server import invocations

    rows = [[base64.b64encode(file.read_bytes()).decode()] for file in files]
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}})
    reply = invocations(body, "application/json", served, served.metadata.get_input_schema())
    assert reply.status == 200
    for row, wanted in zip(json.loads(reply.response)["predictions"], trained, strict=True):
        if "mask" in row:
            row["mask"] = base64.b64decode(row["mask"])
        compare(row, wanted)


def test_pyfunc_parity_of_every_task(
        task: Task, exported: Path, models: dict[Task, Path], files: list[Path]) -> None:
    images = [load_image(file).float() / 255 for file in files]
    found = pyfunc_parity(models[task], exported, images)
    assert found.images == 5
    assert set(found.largest) == {
        "detection": {"boxes", "scores"}, "instance_segmentation": {"boxes", "scores", "masks"},
        "segmentation": {"mask"}, "classification": {"probabilities"}}[task]
    assert found.agrees


def test_models_that_name_the_old_loader_open(
        exported: Path, trained: list[dict[str, Tensor]], files: list[Path], tmp_path: Path) -> None:
    import mlflow

    older = shutil.copytree(exported, tmp_path / "mlflow")
    description = (older / "MLmodel").read_text()
    assert description.count("loader_module: dg_project.export.served") == 1
    (older / "MLmodel").write_text(description.replace("dg_project.export.served", "dg_project.deploy.served"))
    answer = mlflow.pyfunc.load_model(str(older)).predict(pd.DataFrame({"image": [files[0].read_bytes()]}))
    compare(answer.to_dict("records")[0], trained[0])


@pytest.mark.parametrize("task", ["detection", "instance_segmentation"])
def test_image_without_detections(
        task: Task, models: dict[Task, Path], files: list[Path], tmp_path: Path) -> None:
    import mlflow

    spec = read_card(models[task])[0]
    blind = spec.model_copy(update={"head": {**spec.head, "score_threshold": 1.0}})
    (tmp_path / "model").mkdir()
    save_model(build_method(blind), blind, tmp_path / "model")
    image = load_image(files[0]).float() / 255
    save_pyfunc(tmp_path / "model", tmp_path / "mlflow", image)
    served = mlflow.pyfunc.load_model(str(tmp_path / "mlflow"))
    answer = served.predict(pd.DataFrame({"image": [files[0].read_bytes()]}))
    assert answer.to_dict("records") == [{name: [] for name in COLUMNS[task]}]
    assert pyfunc_parity(tmp_path / "model", tmp_path / "mlflow", [image]).agrees
