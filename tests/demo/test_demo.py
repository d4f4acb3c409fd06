"""The demo page: painted and detected, and what it refuses."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_settings import settings

from dg_project.config import Settings, Task
from dg_project.core.errors import ParameterError
from dg_project.core.model_versions import MODELS, ZOO
from dg_project.demo.command import main
from dg_project.demo.server import DemoServer
from dg_project.demo.studio import Studio, models_of_a_run
from dg_project.diffusion.prompts import expand_at

VERSION = "2026-02-01T00.00.00.000Z"


@pytest.fixture(scope="module")
def chosen(tiny_ldm: Path, streets: Path) -> Settings:
    return settings(ldm__checkpoint=str(tiny_ldm), data__root=str(streets), training__device="cpu")


@pytest.fixture(scope="module")
def kept(models: dict[Task, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models of a run that trained a baseline and a method."""
    root = tmp_path_factory.mktemp("kept")
    for name in ("model", "baseline_model"):
        shutil.copytree(models["detection"], root / name / VERSION / name)
    return root


@pytest.fixture(scope="module")
def server(chosen: Settings, kept: Path) -> Iterator[DemoServer]:
    with DemoServer(Studio(chosen, kept / "model"), 0) as opened:
        thread = threading.Thread(target=opened.serve_forever, daemon=True)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def ask(server: DemoServer, body: Any, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(f"{server.url}look", data=json.dumps(body).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else text.decode()


def test_models_of_one_run(kept: Path) -> None:
    assert models_of_a_run(kept / "model") == [kept / name / VERSION / name for name in ("baseline_model", "model")]
    alone = kept / "model" / VERSION / "model"
    assert models_of_a_run(alone)[-1] == alone


def test_shipped_models_stand_together(models: dict[Task, Path], tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("streets_erm", "streets_naive", "streets_drsf", "other_erm"):
        shutil.copytree(models["detection"], tmp_path / ZOO / name)
    monkeypatch.chdir(tmp_path)
    assert models_of_a_run(MODELS) == [ZOO / f"streets_{name}" for name in ("erm", "naive", "drsf")]
    assert models_of_a_run(Path("streets_erm")) == [ZOO / "streets_naive", ZOO / "streets_erm"]
    assert models_of_a_run(Path("other_erm")) == [ZOO / "other_erm"]


def test_page_makes_no_requests_elsewhere(server: DemoServer) -> None:
    with urllib.request.urlopen(server.url) as answer:
        page = answer.read().decode()
    assert '"name": "dusk_rain", "label": "dusk rain"' in page
    assert "__FACTS__" not in page
    assert "http://" not in page.replace(server.url, "")
    assert "https://" not in page
    with urllib.request.urlopen(f"{server.url}sample/0") as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.url}sample/99")


def test_painted_and_detected(server: DemoServer, folder: Path) -> None:
    status, shown = ask(server, {"sample": 0, "weather": "fog", "strength": 1.0})
    assert status == 200
    assert shown["painted"] != shown["photo"]
    assert [model["name"] for model in shown["models"]] == ["DRSF", "DRSF"]
    photo = "data:image/jpeg;base64," + base64.b64encode((folder / "test_000.jpg").read_bytes()).decode()
    status, shown = ask(server, {"photo": photo, "weather": ""})
    assert status == 200
    assert shown["painted"] == shown["photo"]


@pytest.mark.parametrize(("body", "message"), [
    ({"weather": "fog"}, "no photo was sent"),
    ({"photo": "data:image/jpeg;base64,bm8gaW1hZ2U="}, "this file is no image, or it is truncated"),
    ({"sample": 0, "weather": "hail"}, "there is no weather 'hail'; choose one of fog"),
    ({"sample": 99}, "list index out of range"),
])
def test_bad_request_is_answered_in_one_line(server: DemoServer, body: Any, message: str) -> None:
    status, answer = ask(server, body)
    assert status == 400
    assert message in answer["error"]


def test_other_sites_are_refused(server: DemoServer) -> None:
    assert ask(server, {"sample": 0}, Origin="http://elsewhere.example")[0] == 403
    assert ask(server, {"sample": 0}, Host="elsewhere.example")[0] == 403


def test_model_of_another_task(chosen: Settings, models: dict[Task, Path]) -> None:
    with pytest.raises(ParameterError, match=r"draws detections, and '.*' was trained for classification; name a"):
        Studio(chosen, models["classification"])


def test_strength_chooses_the_words() -> None:
    prompt = "a street in {light fog|fog|dense fog}"
    assert [expand_at(prompt, position) for position in (0, 0.5, 1)] == [
        "a street in light fog", "a street in fog", "a street in dense fog"]


@pytest.mark.parametrize("command", ["demo", "mlflow"])
def test_busy_port_is_one_clear_line(command: str, caplog: pytest.LogCaptureFixture) -> None:
    from dg_project.hooks.mlflow import pages

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert (main if command == "demo" else pages.main)(["--port", str(port), "--quiet"]) == 1
    assert f"port {port} cannot be used" in caplog.messages[-1]
    assert f"choose another: make {command} {command.upper()}_PORT={port + 1}" in caplog.messages[-1]


def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from dg_project.hooks.mlflow import pages

    monkeypatch.chdir(tmp_path)
    for run in (main, pages.main):
        assert run(["--port", "0", "--quiet"]) == 1
        assert "is not the project folder" in caplog.messages[-1]
    (tmp_path / "conf/base").mkdir(parents=True)
    (tmp_path / "conf/base/mlflow.yml").write_text("store: mlflow.db\n")
    assert pages.main(["--port", "0", "--quiet"]) == 1
    assert "no run was tracked here yet" in caplog.messages[-1]
