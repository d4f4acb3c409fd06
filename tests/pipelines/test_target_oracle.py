"""``kedro run --pipeline=target_oracle``: numbers of a choice that no training may make."""

from __future__ import annotations

from typing import Any

import pytest

from dg_project.core.errors import DataError


def test_target_oracle_run(project: Any) -> None:
    trained = project.run("erm", training={"keep_validated": True})
    before = {path.name: path.read_bytes() for path in project.load("model", trained).iterdir() if path.is_file()}
    version = project.run("target_oracle")
    steps, oracle = project.load("oracle_steps", version), project.load("oracle_results", version)
    assert steps["step"].tolist() == [3, 6]
    assert set(oracle["selection"]) == {"target_oracle"}
    mean = oracle[(oracle["domain"] == "unseen_mean") & (oracle["metric"] == "mAP@50")]["value"].item()
    assert mean == steps["unseen_mean"].max()
    results = project.load("results", trained)
    chosen = results[(results["domain"] == "unseen_mean") & (results["metric"] == "mAP@50")]["value"].item()
    assert chosen in steps["unseen_mean"].tolist()
    assert set(results["selection"]) == {"source_val"}
    model = project.load("model", trained)
    assert before == {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}


def test_target_oracle_without_validated_weights(project: Any) -> None:
    project.run("erm", to_nodes=["training.train_erm", "ingestion.ingest_targets"])
    with pytest.raises(DataError, match=r"train it with training\.keep_validated=true"):
        project.run("target_oracle")
