"""What a model is asked to do: tasks behind one contract, so that a method is written once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from dg_project.backbones import build_backbone
from dg_project.errors import ParameterError, nearest
from dg_project.parameters import BackboneParams, DetectionParams
from dg_project.tasks.base import AuxHead, Features, Inputs, Instances, TaskModel, take
from dg_project.tasks.detection import Detector

TASKS = ("detection",)

__all__ = ["TASKS", "AuxHead", "Detector", "Features", "Inputs", "Instances", "TaskModel", "build_task", "take"]


def build_task(task: str, backbone: BackboneParams, detection: DetectionParams, classes: Sequence[str]) -> TaskModel:
    """Build the model of a task on a fresh backbone.

    Raises:
        ParameterError: no such task.
    """
    if task != "detection":
        raise ParameterError(f"task: there is no task '{task}'.{nearest(task, TASKS)}")
    return Detector(build_backbone(backbone), detection, classes)
