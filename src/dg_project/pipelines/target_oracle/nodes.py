"""What would a choice by the targets have been?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dg_project.config import DataParams, EvaluationParams, LDMParams
from dg_project.pipelines.lazy import pd
from dg_project.pipelines.paths import locate, locate_ldm

logger = logging.getLogger(__name__)


def score_validated(model: Path, source: pd.DataFrame, target: pd.DataFrame, data: DataParams,
                    evaluation: EvaluationParams, device: str, ldm: LDMParams,
                    run_id: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score the weights of every validation on the test images.

    Returns:
        The unseen mean by step, the records of the best step, and the latter as numbers for MLflow.
    """
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments import scoring

    images = scored_rows(source, target, evaluation.max_images)
    steps, records = scoring.target_oracle(model, images, locate(data.root), evaluation.batch_size, device, run_id,
                                            locate_ldm(ldm))
    logger.info("unseen mean by step, which no training may look at\n%s", steps.to_string(index=False))
    return steps, records, {"target_oracle": scoring.nested(records)}
