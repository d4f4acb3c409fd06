"""One experiment: a method trained with one seed, kept in the workspace, and scored. Pipelines call nothing deeper."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dg_project.domains.batches import BatchStream
from dg_project.domains.dataset import ManifestDataset
from dg_project.domains.manifest import manifest_fingerprint, select
from dg_project.domains.views import objects
from dg_project.errors import DataError, ParameterError, nearest
from dg_project.evaluation.features import pooled_features
from dg_project.evaluation.predict import predict_manifest
from dg_project.evaluation.records import RunFacts, result_records
from dg_project.evaluation.scorer import ALL, score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.files import atomic_file, atomic_folder, folder_hash
from dg_project.methods import Method, method_classes
from dg_project.methods.artifact import ModelSpec, build_method, count_weights, load_model, read_card, save_model
from dg_project.parameters import ClassificationParams, Parameters, Task
from dg_project.training import crew
from dg_project.training.device import forget_peak_memory, resolve_device
from dg_project.training.loop import CHECKPOINT, NOT_SETTINGS, TrainResult, train
from dg_project.training.selection import LEAVE_ONE_PSEUDO_OUT, SOURCE_VAL, leave_one_pseudo_out
from dg_project.workspace import claim, code_hash, place

logger = logging.getLogger(__name__)

HISTORY = "history.parquet"
_DOMAINS = ("batches", "dataset", "dealing", "instances", "label_ids", "loading", "masks", "views")
_EVALUATION = ("classification", "detection", "matching", "scorer", "segmentation")
_CODE = ("backbones", "tasks", "training", "methods/base.py", *(f"domains/{name}.py" for name in _DOMAINS),
         *(f"evaluation/{name}.py" for name in _EVALUATION))


@dataclass(frozen=True)
class TrainingData:
    """All that a training may open: no target among it.

    Attributes:
        source: manifest of the source domain, train and val.
        source_root: folder that its paths are relative to.
        pseudo: manifest of the pseudo domains, or None.
        pseudo_root: folder that its paths are relative to.
        held_out: pseudo images that choose among the weights and never train, or None.
    """

    source: pd.DataFrame
    source_root: Path
    pseudo: pd.DataFrame | None = None
    pseudo_root: Path | None = None
    held_out: pd.DataFrame | None = None


@dataclass(frozen=True)
class Trained:
    """A finished training: the model's folder in the workspace, and one row of losses per step."""

    folder: Path
    history: pd.DataFrame


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


@dataclass(frozen=True)
class _Plan:
    """A training before it begins: what is built, what it may open, and where it lies."""

    spec: ModelSpec
    settings: Parameters
    data: TrainingData
    images_generated: int
    folder: Path

    @property
    def finished(self) -> Path:
        return self.folder / "model"


def train_method(name: str, settings: Parameters, data: TrainingData, workspace: Path, wait: bool = True) -> Trained:
    """Train a method, go on with an interrupted training of it, or return the finished one of the same inputs.

    Args:
        name: of the method.
        settings: all parameters; ``settings.seed`` is the seed.
        data: source and pseudo images; methods that train on the source alone never open the pseudo images.
        workspace: unfinished and finished trainings lie below it, addressed by everything that determines them.
        wait: for another process that trains the very same.

    Raises:
        ParameterError: there is no such method.
        DataError: the method needs pseudo images and there are none.
        BusyError: another process trains the very same, and ``wait`` is False.
    """
    plan = _plan(name, settings, data, workspace)
    # Of the processes that train one model together, the main one holds the folder for all.
    with claim(plan.folder, wait) if crew.in_main_process() else nullcontext():
        if plan.finished.is_dir():
            logger.info("'%s', seed %d: trained before on the same inputs, the model is used again", name,
                        settings.seed)
        else:
            logger.info("training '%s' with seed %d", name, settings.seed)
            crew.launch(plan.settings.training, _train, plan)
    return _trained(plan)


def find_trained(name: str, settings: Parameters, data: TrainingData, workspace: Path) -> Trained | None:
    """Return what ``train_method`` would return, or None where it would have to train."""
    plan = _plan(name, settings, data, workspace)
    return _trained(plan) if plan.finished.is_dir() else None


def _trained(plan: _Plan) -> Trained:
    return Trained(plan.finished, pd.read_parquet(plan.finished / HISTORY))


def _plan(name: str, settings: Parameters, data: TrainingData, workspace: Path) -> _Plan:
    kind = _method(name)
    if kind.batching == "source":
        data = replace(data, pseudo=None, pseudo_root=None)
    elif data.pseudo is None:
        raise DataError(f"the method '{name}' trains on pseudo domains; run `kedro run --pipeline=drsf`")
    generated = 0 if data.pseudo is None else int(data.pseudo.groupby("image")["candidates"].first().sum())
    settings, data = _hold_out(name, settings, data)
    pseudo_domains = dict.fromkeys(data.pseudo["domain"]) if data.pseudo is not None else {}
    spec = _spec(kind, settings, [settings.data.source, *pseudo_domains])
    data = _as_seen(data, spec, settings.sampling.gate.min_visibility)
    folder = place(workspace, "training", *_inputs(kind, spec, settings, data))
    return _Plan(spec, settings, data, generated, folder)


def predict(model: Path, images: pd.DataFrame, root: Path, batch_size: int, device: str) -> pd.DataFrame:
    """Return what a trained model finds in the images of a manifest (columns of its task's scorer)."""
    where = resolve_device(device)
    method = load_model(model, where)
    spec, _ = read_card(model)
    return predict_manifest(method.predict, SCORERS[spec.task], task_rows(images, spec.task, spec.head), root,
                            batch_size=batch_size, device=where, name=method.name)


def predict_once(model: Path, images: pd.DataFrame, root: Path, settings: Parameters, workspace: Path) -> pd.DataFrame:
    """Return what ``predict`` returns, from the workspace where the same weights saw the same images before."""
    folder = place(workspace, "predictions", folder_hash(model), manifest_fingerprint(images), code_hash(*_CODE))
    stored = folder / "found.parquet"
    if not stored.exists():
        found = predict(model, images, root, settings.evaluation.batch_size, settings.training.device)
        with atomic_file(stored) as aside:
            found.to_parquet(aside)
    return pd.read_parquet(stored)


def features(model: Path, images: pd.DataFrame, root: Path, device: str, batch_size: int = 4) -> NDArray[np.float64]:
    """Return (N, C): the last backbone stage of a trained model for each image, mean over positions."""
    where = resolve_device(device)
    task = load_model(model, where).model
    spec, _ = read_card(model)

    def last_stage(batch: list[Tensor]) -> Tensor:
        return task.features(task.prepare(batch).images)[task.backbone.last]

    return pooled_features(last_stage, task_rows(images, spec.task, spec.head), root, batch_size=batch_size,
                           device=where)


def score(model: Path, predictions: pd.DataFrame, images: pd.DataFrame, root: Path, run_id: str,
          inference_ms: float = float("nan")) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores of a trained model by class, and its records (``records.COLUMNS``)."""
    spec, meta = read_card(model)
    by_class = score_predictions(SCORERS[spec.task], predictions, task_rows(images, spec.task, spec.head), spec.classes,
                                 root)
    known = {name: meta[name] for name in ("source", "seed", "selection", "seconds_per_step", "images_generated",
                                           "peak_memory_mb", "max_steps", "images_per_step")}
    facts = RunFacts(method=spec.method, task=spec.task, kedro_version_id=run_id, inference_ms=inference_ms,
                     inference_parameters=count_weights(model), **known,
                     setting="UDA" if meta.get("images_adapted_to") else "DG")
    return by_class, result_records(by_class, facts)


def nested(records: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the values of one model's records as ``{metric: {domain: value}}``."""
    return {str(metric): dict(zip(rows["domain"], rows["value"], strict=True))
            for metric, rows in records.groupby("metric", sort=False)}


def _method(name: str) -> type[Method]:
    classes = method_classes()
    if name not in classes:
        raise ParameterError(f"unknown method '{name}'.{nearest(name, classes)}")
    return classes[name]


def _hold_out(name: str, settings: Parameters, data: TrainingData) -> tuple[Parameters, TrainingData]:
    """Keep apart the pseudo images that choose among the weights, where the selection rule wants that."""
    params = settings.training
    if params.selection != LEAVE_ONE_PSEUDO_OUT:
        return settings, data
    if data.pseudo is None:
        logger.info("'%s' opens no pseudo image: its weights are selected by source_val", name)
        return settings.model_copy(update={"training": params.model_copy(update={"selection": SOURCE_VAL})}), data
    fold = leave_one_pseudo_out(data.source, data.pseudo, settings.seed, params.held_out_share)
    return settings, replace(data, source=fold.source, pseudo=fold.pseudo, held_out=fold.held_out)


def _spec(kind: type[Method], settings: Parameters, domains: list[str]) -> ModelSpec:
    own = kind.Params.model_validate((settings.model_extra or {}).get(kind.name, {}))
    return ModelSpec(method=kind.name, method_params=own.model_dump(mode="json"), task=settings.task,
                     backbone=settings.backbone, head=settings.head.model_dump(mode="json"), classes=settings.classes,
                     domains=domains)


def _as_seen(data: TrainingData, spec: ModelSpec, min_visibility: float) -> TrainingData:
    """Return the rows that training opens, as the task sees them."""
    used = task_rows(data.source[data.source["split"].isin(["train", "val"])], spec.task, spec.head)
    pseudo, held_out = (None if rows is None else task_rows(rows, spec.task, spec.head, min_visibility)
                        for rows in (data.pseudo, data.held_out))
    return replace(data, source=used, pseudo=pseudo, held_out=held_out)


def _inputs(kind: type[Method], spec: ModelSpec, settings: Parameters, data: TrainingData) -> list[Any]:
    """Return everything that determines the trained model: parameters, images, labels and code."""
    source, pseudo = data.source, data.pseudo
    difficult = [[bool(flag) for flag in row] for row in source["difficult"]]
    pairs = [] if pseudo is None else [manifest_fingerprint(pseudo), pseudo["source_image_id"].tolist()]
    pairs += [] if data.held_out is None else [manifest_fingerprint(data.held_out)]
    modules = [parent.__module__ for parent in kind.__mro__ if parent.__module__.startswith("dg_project.methods.")]
    own_code = sorted({"methods/" + module.split(".")[2] for module in modules if module.split(".")[2] != "base"})
    files = [name if (Path(__file__).parent / name).is_dir() else f"{name}.py" for name in own_code]
    return [spec, settings.seed, settings.training.model_dump(mode="json", exclude=NOT_SETTINGS),
            manifest_fingerprint(source), source["split"].tolist(), difficult, pairs, code_hash(*_CODE, *files)]


def _train(plan: _Plan) -> None:
    """Train in the plan's folder and leave model and history in it; the checkpoint goes when they are there."""
    spec, data, params, seed = plan.spec, plan.data, plan.settings.training, plan.settings.seed
    forget_peak_memory(resolve_device(params.device))
    method = build_method(spec, seed)
    parts = method.model.parts
    source = ManifestDataset(select(data.source, split="train"), data.source_root, parts=parts)
    others = None
    if data.pseudo is not None and data.pseudo_root is not None:
        others = ManifestDataset(data.pseudo, data.pseudo_root, data.source_root, parts)
    stream = BatchStream(source, others, spec.domains, method.batching, params.images_per_step, seed, params.flip,
                         params.pseudo_per_source)
    result = train(method, stream, params, plan.folder, seed=seed, validate=_validation(plan))
    if not crew.in_main_process():
        return
    with atomic_folder(plan.finished) as new:
        save_model(method, spec, new, _meta(plan, result))
        result.history.to_parquet(new / HISTORY)
    (plan.folder / CHECKPOINT).unlink(missing_ok=True)


def _meta(plan: _Plan, result: TrainResult) -> dict[str, Any]:
    params = plan.settings.training
    return {
        "source": plan.settings.data.source, "seed": plan.settings.seed, "selection": params.selection,
        "step": result.best_step, "score": result.best_score, "max_steps": params.max_steps,
        "images_per_step": params.images_per_step, "seconds_per_step": result.seconds_per_step,
        "peak_memory_mb": result.peak_memory_mb, "images_generated": plan.images_generated,
    }


def _validation(plan: _Plan) -> Callable[[Method], float] | None:
    """Return what scores a method on the source's validation split, and on held-out pseudo images: their mean.

    None where the source has no such split.
    """
    data, spec, evaluation = plan.data, plan.spec, plan.settings.evaluation
    parts = [(select(data.source, split="val"), data.source_root)]
    if data.held_out is not None and data.pseudo_root is not None:
        parts.append((data.held_out, data.pseudo_root))
    device, scorer = resolve_device(plan.settings.training.device), SCORERS[spec.task]

    def score_part(method: Method, images: pd.DataFrame, root: Path) -> float:
        found = predict_manifest(method.eval().predict, scorer, images, root, batch_size=evaluation.batch_size,
                                 device=device, name="validation")
        # Labels of pseudo images are those of their source images, and lie beside them.
        scores = score_predictions(scorer, found, images, spec.classes, data.source_root, (main_metric(spec.task),))
        return float(scores.loc[scores["class"] == ALL, "value"].iloc[0])

    if parts[0][0].empty:
        return None
    return lambda method: fmean(score_part(method, images, root) for images, root in parts)
