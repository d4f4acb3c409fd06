"""``kedro run --pipeline=domainfusion``: classification of the objects in the streets, sets renewed on the way."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from dg_project.core.errors import DataError

Run = tuple[Any, str]


def test_domainfusion_sets_and_costs(drsf_run: Run) -> None:
    project, _ = drsf_run
    version = project.run("domainfusion")
    results = project.load("results", version)
    assert set(results["method"]) == {"erm", "domainfusion"}
    assert set(results["metric"]) == {"accuracy", "balanced_accuracy"}
    costs = results.groupby("method")[["images_generated", "ldm_seconds"]].first()
    assert costs.loc["erm"].tolist() == [0, 0]
    assert costs.loc["domainfusion", "images_generated"] == 2 * 8 * 2  # two refreshes, eight images, two candidates
    assert costs.loc["domainfusion", "ldm_seconds"] > 0
    last = project.load("synthetic_sets", version) / "set_002"
    assert json.loads((last / "card.json").read_text())["images_generated"] == 2 * 8 * 2
    published = project.load("pseudo_manifest", version)
    assert published["sha256"].tolist() == pd.read_parquet(last / "manifest.parquet")["sha256"].tolist()
    assert all((project.load("pseudo_images", version) / image).is_file() for image in published["image"])
    metrics = {name for child in project.children(version) for name in child.data.metrics}
    assert {"train/loss_ld", "train/log_ld_slope", "train/log_ld_size", "train/log_ld_raising"} <= metrics


def test_training_on_renewed_sets_stops(drsf_run: Run) -> None:
    project, _ = drsf_run
    project.run("domainfusion")
    with pytest.raises(DataError, match=r"last synthetic set of `kedro run --pipeline=domainfusion`.*sampling` again"):
        project.run("training")
    with pytest.raises(DataError, match=r"not comparable, task is .*--pipeline=training`"):
        project.run("evaluation")
    project.run("sampling")
    project.run("training")
