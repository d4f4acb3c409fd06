"""Predictions and scores of trained models, each computed once and cached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from dg_project.config import LDMParams, Settings
from dg_project.core.cache import cache_folder, lock_folder
from dg_project.core.device import resolve_device
from dg_project.core.errors import DataError
from dg_project.core.files import atomic_file, folder_hash
from dg_project.data.manifest import manifest_fingerprint
from dg_project.data.origin import check_classes, check_images
from dg_project.evaluation.features import pooled_features
from dg_project.evaluation.predictions import predict_manifest
from dg_project.evaluation.records import UNSEEN_MEAN, RunFacts, result_records
from dg_project.evaluation.scorer import score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.experiments.training_data import task_rows
from dg_project.methods import Method, method_class
from dg_project.methods.model_folder import attach_ldm, count_weights, load_model, open_ldm, read_card
from dg_project.training.loop import VALIDATED


def rows_of(model: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Return images as a trained model sees them: a classifier has one object per row."""
    spec, _ = read_card(model)
    _check_classes(model, images)
    return task_rows(images, spec.task, spec.head)


def _check_classes(model: Path, images: pd.DataFrame) -> None:
    spec, _ = read_card(model)
    check_classes(images, spec.classes, spec.task, f"the model '{spec.method}' in '{model}'")


def _check_cached(model: Path, images: pd.DataFrame, root: Path) -> None:
    """Check what a cached result does not open again: the classes, and some of the images."""
    _check_classes(model, images)
    check_images(images, root)


def source_of(model: Path) -> str:
    """Return the name of the source that a model was trained on; several are joined by ``+``."""
    return str(read_card(model)[1]["source"])


def open_model(model: Path, device: str, ldm: LDMParams | None = None) -> Method:
    """Return a trained model ready to predict; a method that needs a diffusion model for it gets that of ``ldm``."""
    method = load_model(model, resolve_device(device))
    attach_ldm(open_ldm(type(method), "prediction", ldm, device), method)
    return method


def predict(model: Path, images: pd.DataFrame, root: Path, batch_size: int, device: str,
            ldm: LDMParams | None = None) -> pd.DataFrame:
    """Return the predictions of a trained model on a manifest (columns of its task's scorer).

    Args:
        model: model folder.
        images: rows to predict.
        root: folder that their paths are relative to.
        batch_size: images per batch.
        device: torch device.
        ldm: diffusion model of a method that needs one to predict.
    """
    method = open_model(model, device, ldm)
    spec, _ = read_card(model)
    return predict_manifest(method.predict, SCORERS[spec.task], rows_of(model, images), root,
                            batch_size=batch_size, device=resolve_device(device), name=method.name)


def predict_once(model: Path, images: pd.DataFrame, root: Path, settings: Settings, workspace: Path) -> pd.DataFrame:
    """Return what ``predict`` returns, cached for the same weights and images."""
    _check_cached(model, images, root)
    folder = _predictions(model, images, settings, workspace)
    with lock_folder(folder):
        return _found(folder, model, images, root, settings)


def score_once(model: Path, images: pd.DataFrame, root: Path, settings: Settings, workspace: Path,
               wait: bool = True) -> pd.DataFrame:
    """Return the scores of a trained model by class, cached for the same weights and images.

    Raises:
        BusyError: another process scores the same, and ``wait`` is False.
    """
    _check_cached(model, images, root)
    folder = _predictions(model, images, settings, workspace)
    stored = cache_folder(workspace, "scores", folder.name, code=[__name__]) / "by_class.parquet"
    with lock_folder(folder, wait):
        if not stored.exists():
            scores = by_class(model, _found(folder, model, images, root, settings), images, root)
            with atomic_file(stored) as aside:
                scores.to_parquet(aside)
    return pd.read_parquet(stored)


def _found(folder: Path, model: Path, images: pd.DataFrame, root: Path, settings: Settings) -> pd.DataFrame:
    stored = folder / "found.parquet"
    if not stored.exists():
        found = predict(model, images, root, settings.evaluation.batch_size, settings.training.device, settings.ldm)
        with atomic_file(stored) as aside:
            found.to_parquet(aside)
    return pd.read_parquet(stored)


def _predictions(model: Path, images: pd.DataFrame, settings: Settings, workspace: Path) -> Path:
    kind = method_class(read_card(model)[0].method)
    ldm = open_ldm(kind, "prediction", settings.ldm, settings.training.device)
    more = [] if ldm is None else [ldm.fingerprint, settings.ldm]
    # The batch size is part of the key: a method may adapt to each batch.
    return cache_folder(workspace, "predictions", folder_hash(model), manifest_fingerprint(images),
                        settings.evaluation.batch_size, *more, code=[__name__, *kind.code_modules()])


def features(model: Path, images: pd.DataFrame, root: Path, device: str, batch_size: int = 4) -> NDArray[np.float64]:
    """Return (N, C): the last backbone stage of a trained model for each image, mean over positions."""
    where = resolve_device(device)
    task = load_model(model, where).model

    def last_stage(batch: list[Tensor]) -> Tensor:
        return task.features(task.prepare(batch).images)[task.backbone.last]

    return pooled_features(last_stage, rows_of(model, images), root, batch_size=batch_size, device=where)


def by_class(model: Path, predictions: pd.DataFrame, images: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return the scores of predictions by class and domain."""
    spec, _ = read_card(model)
    return score_predictions(SCORERS[spec.task], predictions, rows_of(model, images), spec.classes, root)


def records(model: Path, scores: pd.DataFrame, run_id: str, inference_ms: float = float("nan")) -> pd.DataFrame:
    """Return the records (``records.COLUMNS``) of a trained model with these scores by class."""
    spec, meta = read_card(model)
    known = {name: meta[name] for name in ("source", "seed", "selection", "seconds_per_step", "images_generated",
                                           "peak_memory_mb", "max_steps", "images_per_step")}
    facts = RunFacts(method=meta.get("label", spec.method), task=spec.task, kedro_version_id=run_id,
                     inference_ms=inference_ms, inference_parameters=count_weights(model), **known,
                     ldm_seconds=meta.get("ldm_seconds", float("nan")),
                     setting="UDA" if meta.get("images_adapted_to") else "DG")
    return result_records(scores, facts)


def target_oracle(model: Path, images: pd.DataFrame, root: Path, batch_size: int, device: str,
                  run_id: str, ldm: LDMParams | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return which step the targets' scores would have selected: an analysis afterwards, which selects no model.

    Args:
        model: folder with the weights of every validation (``training.keep_validated``).
        images: test images of the source and of the targets.
        root: folder that their paths are relative to.
        batch_size: images per batch.
        device: torch device.
        run_id: version of the run.
        ldm: diffusion model of a method that needs one to predict.

    Returns:
        The unseen mean of the task's main metric by step, and the records of the best step.

    Raises:
        DataError: the model was trained without ``training.keep_validated``.
    """
    kept = sorted((model / VALIDATED).glob("step*.safetensors"))
    if not kept:
        raise DataError(f"'{model}' has only the selected weights; train it with training.keep_validated=true")
    spec, _ = read_card(model)
    method, seen = open_model(model, device, ldm), rows_of(model, images)
    steps, rows_by_step = [], []
    for weights in kept:
        method.load_inference_state(load_file(weights, device=str(resolve_device(device))))
        found = predict_manifest(method.predict, SCORERS[spec.task], seen, root, batch_size=batch_size,
                                 device=resolve_device(device), name=weights.stem)
        scores = by_class(model, found, images, root)
        rows = records(model, scores, run_id).assign(selection="target_oracle")
        mean = rows[(rows["domain"] == UNSEEN_MEAN) & (rows["metric"] == main_metric(spec.task))]["value"].item()
        steps.append({"step": int(weights.stem.removeprefix("step")), UNSEEN_MEAN: mean})
        rows_by_step.append(rows)
    table = pd.DataFrame(steps)
    return table, rows_by_step[int(table[UNSEEN_MEAN].fillna(-1).argmax())]


def nested(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the values of one model's records as ``{metric: {domain: value}}``."""
    return {str(metric): dict(zip(own["domain"], own["value"], strict=True))
            for metric, own in rows.groupby("metric", sort=False)}
