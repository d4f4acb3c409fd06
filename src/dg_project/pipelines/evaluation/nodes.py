"""Trained models see the test images of the source and of the unseen targets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import DataParams, EvaluationParams, LDMParams

logger = logging.getLogger(__name__)


def predict(model: Path, source: pd.DataFrame, target: pd.DataFrame, data: DataParams, evaluation: EvaluationParams,
            device: str, ldm: LDMParams) -> pd.DataFrame:
    """Return what the model finds in the test images of every domain."""
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments import scoring

    images = scored_rows(source, target, evaluation.max_images)
    return scoring.predict(model, images, Path(data.root), evaluation.batch_size, device, ldm)


def score_model(
    model: Path, predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame, data: DataParams,
    evaluation: EvaluationParams, run_id: str,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score one model; see ``score_with_baseline``."""
    return _score({"": (model, predictions)}, source, target, data, evaluation, run_id)


def score_with_baseline(
    model: Path, predictions: pd.DataFrame, baseline: Path, baseline_predictions: pd.DataFrame, source: pd.DataFrame,
    target: pd.DataFrame, data: DataParams, evaluation: EvaluationParams, run_id: str,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score a method and its baseline on the same images.

    Returns:
        Predictions of both (column ``method``), results, scores by class, and the results as nested numbers for MLflow:
        ``<metric>/<domain>`` of the method and ``baseline/<metric>/<domain>``.
    """
    models = {"baseline": (baseline, baseline_predictions), "": (model, predictions)}
    return _score(models, source, target, data, evaluation, run_id)


def _score(
    models: dict[str, tuple[Path, pd.DataFrame]], source: pd.DataFrame, target: pd.DataFrame, data: DataParams,
    evaluation: EvaluationParams, run_id: str,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.evaluation.records import check_records
    from dg_project.experiments import scoring

    images = scored_rows(source, target, evaluation.max_images)
    tables: dict[str, tuple[pd.DataFrame, ...]] = {}
    numbers: dict[str, Any] = {}
    for prefix, (model, predictions) in models.items():
        by_class = scoring.by_class(model, predictions, images, Path(data.root))
        records = scoring.records(model, by_class, run_id)
        name = records["method"].iloc[0]
        # ERM as the method of a run is its own baseline: one set of rows, not two of the same name.
        tables[name] = (predictions.assign(method=name), records, by_class.assign(method=name))
        values = scoring.nested(records)
        numbers |= {prefix: values} if prefix else values
    columns = zip(*tables.values(), strict=True)
    predictions, results, class_scores = (pd.concat(parts, ignore_index=True) for parts in columns)
    return predictions, check_records(results), class_scores, numbers


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
    steps, records = scoring.target_oracle(model, images, Path(data.root), evaluation.batch_size, device, run_id,
                                           ldm)
    logger.info("unseen mean by step, which must not choose a model\n%s", steps.to_string(index=False))
    return steps, records, {"target_oracle": scoring.nested(records)}
