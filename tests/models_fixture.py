"""Fixtures: a tiny model of every task (random weights, distinct scores), and images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from streets_fixture import CLASSES, build_tiny_streets

from dg_project.config import TASK_PARAMS, BackboneParams, SegmentationParams, Task
from dg_project.methods.model_folder import ModelSpec, build_method, save_model

BOXES: dict[str, Any] = {"image_size": (64, 96), "fpn_channels": 16, "box_head_features": 16, "proposals_test": 16,
                         "score_threshold": 0.05}
HEADS: dict[Task, dict[str, Any]] = {
    "detection": BOXES, "instance_segmentation": {**BOXES, "mask_roi_size": 4, "mask_channels": 8},
    "segmentation": {"image_size": (64, 96), "channels": 16}, "classification": {"image_size": (32, 32)},
}
META = {"source": "daytime_clear", "seed": 0, "selection": "last", "step": 2, "score": None, "max_steps": 2,
        "images_per_step": 4, "seconds_per_step": 0.1, "peak_memory_mb": 1.0, "images_generated": 0}


def save_tiny(folder: Path, task: Task, method: str = "drsf") -> Path:
    """Write a model folder. Score weights are scaled up, because equal scores have no order to compare."""
    spec = ModelSpec(method=method, classes=SegmentationParams().classes if task == "segmentation" else CLASSES,
                     domains=["daytime_clear", "night"], task=task,
                     head=TASK_PARAMS[task](**HEADS[task]).model_dump(mode="json"),
                     backbone=BackboneParams(name="test_efficientnet", weights=None, frozen_stages=1))
    built = build_method(spec)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if "cls_score" in name or "cls_logits" in name:
                weight.mul_(30)
    save_model(built, spec, folder, META)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Task, Path]:
    """Model folder by task."""
    root = tmp_path_factory.mktemp("models")
    for task in HEADS:
        (root / task).mkdir()
    return {task: save_tiny(root / task, task) for task in HEADS}


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set; read-only."""
    return build_tiny_streets(tmp_path_factory.mktemp("streets") / "streets")


@pytest.fixture(scope="session")
def folder(streets: Path) -> Path:
    """A folder of sixteen images."""
    return streets / "daytime_clear" / "VOC2007" / "JPEGImages"
