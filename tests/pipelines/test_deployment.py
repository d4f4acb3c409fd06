"""``kedro run --pipeline=predict`` and ``--pipeline=export``: whole runs with a model that is in no catalog."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from models_fixture import save_tiny

from dg_project.core.errors import CheckpointError, DataError, ParameterError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model"), "detection")


def test_predict_run(project: Any, model: Path) -> None:
    images = project.root / "data/01_raw/streets/night_clear/VOC2007/JPEGImages"
    with pytest.raises(ParameterError, match=r"predict\.input: name the input"):
        project.run("predict", predict={"model": str(model)})
    with pytest.raises(DataError, match="'model' was never made"):
        project.run("predict", predict={"input": str(images)})
    with pytest.raises(CheckpointError, match=r"predict\.model: .*nowhere' holds no trained model"):
        project.run("predict", predict={"input": str(images), "model": "nowhere"})
    version = project.run("predict", predict={"input": str(images), "model": str(model), "formats": "coco+drawn"})
    out, counts = project.load("predicted", version), project.load("predicted_summary", version)
    assert counts["images"] == len(list((out / "drawn").iterdir())) == len(list(images.iterdir())) > 0
    assert not (out / "predictions.csv").exists()

    kept = project.data / "06_models/model"  # the newest of the catalog, and a folder of versions
    for stamp in ("2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"):
        shutil.copytree(model, kept / stamp / "model")
    again = project.run("predict", predict={"input": str(images)})
    assert project.load("predicted_summary", again)["found"] == counts["found"]
    versions = json.loads(Path(project.mlflow().download_artifacts(
        project.tracked(again).info.run_id, "kedro/versions.json")).read_text())
    assert versions["model"]["version"] == "2026-01-02T00.00.00.000Z"
    assert project.run("predict", predict={"input": str(images), "model": "data/smoke/06_models/model"})


def test_export_opens_in_mlflow(project: Any, model: Path) -> None:
    import mlflow
    import torch

    from dg_project.data.images import load_image
    from dg_project.methods.model_folder import load_model

    project.run("ingestion")
    version = project.run("export", export={"model": str(model), "format": "mlflow+torch_export", "parity_images": 3})
    folder, card = project.load("export", version), project.load("export_card", version)
    assert set(card["parity"]["formats"]) == {"mlflow", "torch_export"}
    assert all(found["images"] == 3 for found in card["parity"]["formats"].values())
    assert "## MLflow" in (folder / "README.md").read_text()
    assert (folder / "model.pt2").is_file()
    assert not list(folder.rglob("*.pkl"))

    image = project.root / "data/01_raw/streets/night_clear/VOC2007/JPEGImages/test_000.jpg"
    run = project.tracked(version).info.run_id
    logged = Path(project.mlflow().download_artifacts(run, "export"))
    served = mlflow.pyfunc.load_model(str(logged / "mlflow"))
    assert served.metadata.signature.inputs.input_names() == ["image"]
    assert served.input_example["image"].map(type).tolist() == [bytes]
    answer = served.predict(pd.DataFrame({"image": [image.read_bytes()]}))
    wanted = load_model(model).predict([load_image(image).float() / 255])[0]
    assert answer["scores"][0] == wanted["scores"].tolist()
    assert len(answer["scores"][0]) > 0
    torch.testing.assert_close(torch.tensor(answer["boxes"][0]), wanted["boxes"])
    assert answer["labels"][0] == wanted["labels"].tolist()
    assert len(answer["classes"][0]) == len(answer["labels"][0])

    from mlflow.pyfunc.scoring_server import invocations

    text = base64.b64encode(image.read_bytes()).decode()
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": [[text]]}})
    reply = invocations(body, "application/json", served, served.metadata.get_input_schema())
    assert reply.status == 200
    assert json.loads(reply.response)["predictions"][0]["labels"] == answer["labels"][0]
