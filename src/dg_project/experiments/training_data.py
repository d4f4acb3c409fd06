"""The images that a training may read, and how a task sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dg_project.config import ClassificationParams, Task
from dg_project.data.objects import objects, whole_images
from dg_project.methods.model_folder import ModelSpec

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class TrainingData:
    """All that a training may open: no target among it, but for images without labels where a method adapts.

    Attributes:
        source: manifest of the source domain (or of several), train and val.
        source_root: folder that its paths are relative to.
        pseudo: manifest of the pseudo domains, or None.
        pseudo_root: folder that its paths are relative to.
        held_out: pseudo images that choose among the weights and never train, or None.
        adapt: manifest of unlabelled target images, whose paths are relative to ``source_root`` too, or None.
    """

    source: pd.DataFrame
    source_root: Path
    pseudo: pd.DataFrame | None = None
    pseudo_root: Path | None = None
    held_out: pd.DataFrame | None = None
    adapt: pd.DataFrame | None = None


def task_rows(manifest: pd.DataFrame, task: Task, head: dict[str, Any], min_visibility: float = -1) -> pd.DataFrame:
    """Return a manifest as a task sees it: classification looks at one object per row.

    Args:
        manifest: rows of images.
        task: name of the task.
        head: the parameters under its name.
        min_visibility: of objects in pseudo images, see ``views.objects``.
    """
    if task != "classification":
        return manifest
    params = ClassificationParams.model_validate(head)
    return objects(manifest, params.margin, params.min_side, min_visibility)


def as_seen(data: TrainingData, spec: ModelSpec, min_visibility: float) -> TrainingData:
    """Return the rows that training opens, as the task sees them."""
    used = task_rows(data.source[data.source["split"].isin(["train", "val"])], spec.task, spec.head)
    pseudo, held_out = (None if rows is None else task_rows(rows, spec.task, spec.head, min_visibility)
                        for rows in (data.pseudo, data.held_out))
    adapt = data.adapt
    if adapt is not None and spec.task == "classification":
        adapt = whole_images(adapt, data.source)
    return replace(data, source=used, pseudo=pseudo, held_out=held_out, adapt=adapt)


def source_domains(source: pd.DataFrame) -> list[str]:
    """Return the names of the domains that are trained or validated on."""
    return list(dict.fromkeys(source.loc[source["split"].isin(["train", "val"]), "domain"]))
