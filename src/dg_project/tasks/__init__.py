"""Tasks behind a common interface, so that a method is written once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from dg_project.backbones import build_backbone
from dg_project.config import BackboneParams, Task, TaskParams
from dg_project.core.errors import ParameterError, nearest
from dg_project.tasks.base import AuxHead, Features, Inputs, Instances, TaskModel, take
from dg_project.tasks.classification import Classifier
from dg_project.tasks.detection import Detector
from dg_project.tasks.instance_segmentation import InstanceSegmenter
from dg_project.tasks.segmentation import Segmenter

TASK_MODELS: dict[Task, type[TaskModel]] = {
    "detection": Detector, "instance_segmentation": InstanceSegmenter, "segmentation": Segmenter,
    "classification": Classifier,
}

__all__ = ["TASK_MODELS", "AuxHead", "Features", "Inputs", "Instances", "TaskModel", "build_task", "take"]


def build_task(task: Task, backbone: BackboneParams, params: TaskParams, classes: Sequence[str]) -> TaskModel:
    """Build the model of a task on a fresh backbone.

    Raises:
        ParameterError: unknown task, or sizes in ``params`` that do not fit the backbone.
    """
    if task not in TASK_MODELS:
        raise ParameterError(f"task: there is no task '{task}'.{nearest(task, TASK_MODELS)}")
    return TASK_MODELS[task](build_backbone(backbone), params, classes)
