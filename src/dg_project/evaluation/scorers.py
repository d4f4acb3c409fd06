"""Map each task to its scorer and main metric."""

from __future__ import annotations

from dg_project.config import Task
from dg_project.evaluation.classification import AccuracyScorer
from dg_project.evaluation.detection import BoxScorer, MaskScorer
from dg_project.evaluation.scorer import Scorer
from dg_project.evaluation.segmentation import MIoUScorer

SCORERS: dict[Task, Scorer] = {
    "detection": BoxScorer(), "instance_segmentation": MaskScorer(), "segmentation": MIoUScorer(),
    "classification": AccuracyScorer(),
}


def main_metric(task: Task) -> str:
    """Return the main metric of a task, which selects its models."""
    return SCORERS[task].metrics[0]
