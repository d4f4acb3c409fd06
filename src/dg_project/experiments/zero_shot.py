"""Zero-shot scores of the CLIP teacher on the test images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dg_project.config import Settings, Task
from dg_project.core.cache import cache_folder
from dg_project.core.device import resolve_device
from dg_project.core.files import atomic_file
from dg_project.data.manifest import manifest_fingerprint
from dg_project.data.origin import check_classes, check_images
from dg_project.evaluation.predictions import predict_manifest
from dg_project.evaluation.records import RunFacts, result_records
from dg_project.evaluation.scorer import score_predictions
from dg_project.evaluation.scorers import SCORERS
from dg_project.experiments.training_data import task_rows
from dg_project.vlm import open_teacher, teacher_fingerprint
from dg_project.vlm.base import class_prompts

NAME = "teacher"
TASK: Task = "classification"


def classify(name: str, prompt: str, images: pd.DataFrame, root: Path, settings: Settings,
             workspace: Path) -> pd.DataFrame:
    """Return the teacher's class probabilities of each image, cached in the workspace.

    Args:
        name: teacher, see ``open_teacher``.
        prompt: sentence with one ``{class}``.
        images: one row per object.
        root: folder that their paths are relative to.
        settings: classes, device and batch size.
        workspace: folder of cached work.
    """
    crops = [[int(side) for side in crop] for crop in images.get("crop", [])]
    folder = cache_folder(workspace, "teacher_predictions", teacher_fingerprint(name), prompt, settings.classes,
                          manifest_fingerprint(images), crops, code=[__name__])
    if not (folder / "found.parquet").exists():
        teacher = open_teacher(name)
        texts = teacher.texts(class_prompts(prompt, settings.classes))

        def predict(batch: list[Tensor]) -> list[dict[str, Tensor]]:
            shares = teacher.logits(teacher.images(batch), texts.to(batch[0].device)).softmax(1)
            return [{"probabilities": row} for row in shares]

        device: torch.device = resolve_device(settings.training.device)
        found = predict_manifest(predict, SCORERS[TASK], images, root, batch_size=settings.evaluation.batch_size,
                                 device=device, name=NAME)
        with atomic_file(folder / "found.parquet") as aside:
            found.to_parquet(aside)
    return pd.read_parquet(folder / "found.parquet")


def teacher_records(name: str, prompt: str, images: pd.DataFrame, root: Path, settings: Settings, workspace: Path,
                    run_id: str) -> pd.DataFrame:
    """Return the records of a teacher that was trained on none of these images."""
    check_classes(images, settings.classes, TASK, f"the teacher '{name}'")
    check_images(images, root)
    rows = task_rows(images, TASK, settings.classification.model_dump())
    found = classify(name, prompt, rows, root, settings, workspace)
    scores = score_predictions(SCORERS[TASK], found, rows, settings.classes, root)
    facts = RunFacts(method=NAME, task=TASK, source=settings.data.source, seed=settings.seed, selection="none",
                     seconds_per_step=float("nan"), kedro_version_id=run_id)
    return result_records(scores, facts)
