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
