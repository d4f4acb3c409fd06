"""Saved datasets in MLflow. (Whole runs are in tests/pipelines/test_smoke.py.)"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

from dg_project.core.nested import flatten
from dg_project.hooks.mlflow import artifacts


class Client:
    """Remembers what would be sent."""

    def __init__(self) -> None:
        self.metrics: dict[str, list[tuple[int, float]]] = {}
        self.texts: dict[str, str] = {}

    def log_batch(self, run: str, metrics: list[Any]) -> None:
        assert len(metrics) <= 1000  # MLflow's limit
        for metric in metrics:
            self.metrics.setdefault(metric.key, []).append((metric.step, metric.value))

    def log_text(self, run: str, text: str, path: str) -> None:
        self.texts[path] = text


def send(monkeypatch: pytest.MonkeyPatch, wish: dict[str, Any], data: Any) -> Client:
    from dg_project.hooks.mlflow import runs

    client = Client()
    monkeypatch.setattr(runs, "client", lambda state: client)
    artifacts.log({"run": "r", "kinds": {"thing": wish}}, "thing", data)
    artifacts.log({"run": "r", "kinds": {"thing": wish}}, "other", data)
    return client


def test_parameters_are_flat_and_plain() -> None:
    class Group(BaseModel):
        lr: float = 0.1
        sizes: list[int] = [1, 2]

    assert flatten({"training": Group(), "seed": 0, "none": {}}) == {
        "training.lr": 0.1, "training.sizes": [1, 2], "seed": 0, "none": {}}


def test_a_history_becomes_curves_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"step": range(1500), "loss_total": 1.0, "score": [None] * 1499 + [0.5], "note": "text"})
    client = send(monkeypatch, {"kind": "history", "prefix": "train"}, table)
    assert [step for step, _ in client.metrics["train/loss_total"]] == list(range(1500))
    assert client.metrics["train/score"] == [(1499, 0.5)]
    assert "train/note" not in client.metrics


def test_metrics_are_named_in_mlflows_alphabet(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"mAP@50": {"night": 0.25}, "baseline": {"mAP": {"fog": 1}}}
    client = send(monkeypatch, {"kind": "metrics", "prefix": ""}, numbers)
    assert client.metrics == {"mAP50/night": [(0, 0.25)], "baseline/mAP/fog": [(0, 1.0)]}


def test_a_table_is_a_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    client = send(monkeypatch, {"kind": "table", "prefix": "results"}, pd.DataFrame({"a": [1]}))
    assert client.texts == {"tables/results.csv": "a\n1\n"}


def test_live_curves_send_each_step_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """While training, at the end, and after a server that did not answer."""
    from dg_project.hooks.mlflow import live

    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    rows = [{"step": float(step), "loss": 1.0 / step, **({"source_val": 0.5} if step == 4 else {})}
            for step in range(1, 8)]
    for broken in (False, True):
        client = Client()
        curves = live.LiveCurves(client, "r", "train")
        if broken:
            monkeypatch.setattr(client, "log_batch", lambda *args, **more: 1 / 0, raising=False)
        for row in rows[2:]:  # the process before this one did the first two
            clock[0] += 2
            curves.note(int(row["step"]), row)
        assert [step for step, _ in client.metrics.get("train/loss", [])] == ([] if broken else [3, 4, 5])
        if broken:
            monkeypatch.undo()
        curves.finish(pd.DataFrame(rows))
        assert sorted(step for step, _ in client.metrics["train/loss"]) == [1, 2, 3, 4, 5, 6, 7]
        assert client.metrics["train/source_val"] == [(4, 0.5)]
    assert "the curves are sent when the training ends" in caplog.text


def test_used_parameters_are_those_of_task_methods_and_pipeline() -> None:
    from run_settings import settings

    from dg_project.hooks.mlflow.parameters import used_parameters
    from dg_project.pipelines.sums import create_sums

    chosen, sums = settings(), create_sums()
    given = chosen.model_dump(mode="json")
    names = list(used_parameters(sums["drsf"], chosen, given))
    assert names[:4] == ["task", "method", "seed", "data.source"]
    groups = {name.partition(".")[0] for name in names}
    assert groups >= {"drsf", "training", "detection", "synthesis", "ldm", "evaluation"}
    assert not groups & {"segmentation", "classification", "closed_loop", "scmd", "mic", "uda", "benchmark", "predict"}
    assert "closed_loop" in {name.partition(".")[0] for name in used_parameters(sums["closed_loop"], chosen, given)}
    assert not {name.partition(".")[0] for name in used_parameters(sums["erm"], chosen, given)} & {"drsf", "sampling"}
