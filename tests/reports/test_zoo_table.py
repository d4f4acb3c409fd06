"""docs/models.md shows what the folders of the shipped models say, and scores of no other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dg_project.config import Task
from dg_project.core.errors import CheckpointError
from dg_project.core.files import weights_hash
from dg_project.core.model_versions import WEIGHTS, ZOO
from dg_project.reports.zoo_table import ABOUT, shipped_models, zoo_table


@pytest.fixture
def shipped(models: dict[Task, Path], tmp_path: Path) -> Path:
    """A project with one shipped detector."""
    folder = tmp_path / ZOO / "streets_drsf"
    shutil.copytree(models["detection"], folder)
    scores = [{"domain": "night_clear", "value": 0.43, "low": 0.4, "high": 0.47, "images": 60},
              {"domain": "unseen_mean", "value": 0.351, "low": 0.33, "high": 0.372, "images": 240}]
    facts = {"command": "make run", "weights": weights_hash(folder), "metric": "mAP@50", "scores": scores}
    (folder / ABOUT).write_text(json.dumps(facts))
    return tmp_path


def test_table(shipped: Path) -> None:
    text = zoo_table(shipped)
    assert "| streets_drsf | mAP@50 | 43.0 (40.0 to 47.0) | 35.1 (33.0 to 37.2) |" in text
    assert "`make run`" in text
    assert [folder.name for folder in shipped_models(shipped)] == ["streets_drsf"]


def test_scores_of_other_weights(shipped: Path) -> None:
    weights = shipped / ZOO / "streets_drsf" / WEIGHTS
    state = load_file(weights)
    save_file({name: value + 1 for name, value in state.items()}, weights)
    with pytest.raises(CheckpointError, match=r"'.*about\.json' has the scores of other weights; .*tools/zoo\.py"):
        zoo_table(shipped)
