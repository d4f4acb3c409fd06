"""What SCMD adds to a run: its teacher as a row of its own, and the samples that its student finds hard."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dg_project.config import Settings
from dg_project.data.manifest import select
from dg_project.pipelines.figure import Figure

logger = logging.getLogger(__name__)


def score_teacher(source: pd.DataFrame, target: pd.DataFrame, settings: Settings, scmd: Any,
                  run_id: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score the frozen teacher on the test images of every domain; return its records, and the same for MLflow."""
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments.scoring import nested
    from dg_project.experiments.zero_shot import NAME, teacher_records

    images = scored_rows(source, target, settings.evaluation.max_images)
    records = teacher_records(scmd.teacher, scmd.prompt, images, Path(settings.data.root),
                              settings, Path(settings.workspace), run_id)
    shown = records.pivot_table(index="metric", columns="domain", values="value", sort=False)
    logger.info("the teacher by itself\n%s", shown.round(3).to_string())
    return records, {NAME: nested(records)}


def draw_hard_samples(model: Path, source: pd.DataFrame, settings: Settings,
                      scmd: Any) -> Figure:
    """Draw the training crops that the trained student finds hardest, by the rule that selected them in training."""
    from dg_project.experiments.scoring import predict_once
    from dg_project.experiments.training_data import task_rows
    from dg_project.experiments.zero_shot import classify
    from dg_project.figures.hard_samples import hard_samples

    root, workspace = Path(settings.data.root), Path(settings.workspace)
    seen = select(source, split="train")
    crops = task_rows(seen, settings.task, settings.head.model_dump())
    found = predict_once(model, seen, root, settings, workspace)
    asked = classify(scmd.teacher, scmd.prompt, crops, root, settings, workspace)
    student, teacher = (np.stack([np.asarray(row, float) for row in table["probabilities"]])
                        for table in (found, asked))
    label = np.array([int(row[0]) - 1 for row in crops["labels"]])
    entropy = -np.log(np.maximum(student[np.arange(len(label)), label], 1e-12))
    samples = crops.assign(ce=entropy, student=student.argmax(1), teacher=teacher.argmax(1))
    return hard_samples(samples, root, settings.classes, scmd.hard_share)
