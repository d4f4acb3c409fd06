"""Predict and score the test images of the source and of the unseen targets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import DataParams, EvaluationParams, LDMParams
from dg_project.data.manifest import manifest_fingerprint

logger = logging.getLogger(__name__)


def predict(model: Path, source: pd.DataFrame, target: pd.DataFrame, data: DataParams, evaluation: EvaluationParams,
            device: str, ldm: LDMParams) -> pd.DataFrame:
    """Return the model's predictions on the test images of every domain."""
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments import origin, scoring

    origin.check_source(source, scoring.source_of(model), f"the model in '{model}'")
    images = scored_rows(source, target, evaluation.max_images)
    found = scoring.predict(model, images, Path(data.root), evaluation.batch_size, device, ldm)
    return origin.mark_predictions(found, model, images)


def score(source: pd.DataFrame, target: pd.DataFrame, data: DataParams, evaluation: EvaluationParams, run_id: str,
          model: Path, model_predictions: pd.DataFrame,
          **others: Any) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score a method and the models that it is compared with on the same images.

    Args:
        source: manifest of the source.
        target: manifest of the targets.
        data: data parameters.
        evaluation: evaluation parameters.
        run_id: version of the run.
        model: folder of the method's model.
        model_predictions: its predictions.
        others: ``<name>_model`` and ``<name>_predictions`` of the other models, in the order of the table.

    Returns:
        Predictions of all (column ``method``), results, scores by class, and the results as nested numbers for MLflow:
        ``<metric>/<domain>`` of the method and ``<name>/<metric>/<domain>`` of the others.
    """
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.evaluation.records import check_records, classes_note
    from dg_project.experiments import origin, scoring

    names = [name.removesuffix("_model") for name in others if name.endswith("_model")]
    origin.check_comparable({"model": model, **{f"{name}_model": others[f"{name}_model"] for name in names}})
    models = {name: (others[f"{name}_model"], others[f"{name}_predictions"]) for name in names}
    models[""] = (model, model_predictions)
    images = scored_rows(source, target, evaluation.max_images)
    tables: dict[str, tuple[pd.DataFrame, ...]] = {}
    numbers: dict[str, Any] = {}
    for prefix, (model, predictions) in models.items():
        origin.check_predictions(predictions, images, model)
        by_class = scoring.by_class(model, predictions, images, Path(data.root))
        records = scoring.records(model, by_class, run_id)
        name = records["method"].iloc[0]
        # If the method of a run is one of the others, keep one set of rows.
        tables[name] = (predictions.assign(method=name), records, by_class.assign(method=name))
        values = scoring.nested(records)
        numbers |= {prefix: values} if prefix else values
    columns = zip(*tables.values(), strict=True)
    predictions, results, class_scores = (pd.concat(parts, ignore_index=True) for parts in columns)
    predictions.attrs = {origin.IMAGES: manifest_fingerprint(images)}
    if note := classes_note(results):
        logger.info(note)
    return predictions, check_records(results), class_scores, numbers


def score_validated(model: Path, source: pd.DataFrame, target: pd.DataFrame, data: DataParams,
                    evaluation: EvaluationParams, device: str, ldm: LDMParams,
                    run_id: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score the weights of every validation on the test images.

    Returns:
        The unseen mean by step, the records of the best step, and the latter as numbers for MLflow.
    """
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments import origin, scoring

    origin.check_source(source, scoring.source_of(model), f"the model in '{model}'")
    images = scored_rows(source, target, evaluation.max_images)
    steps, records = scoring.target_oracle(model, images, Path(data.root), evaluation.batch_size, device, run_id,
                                           ldm)
    logger.info("unseen mean by step, which must not choose a model\n%s", steps.to_string(index=False))
    return steps, records, {"target_oracle": scoring.nested(records)}
