"""One experiment: a method trained with one seed, kept in the workspace, and scored. Pipelines call nothing deeper."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
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
from dg_project.methods.artifact import ModelSpec, build_method, load_model, read_card, save_model
from dg_project.parameters import ClassificationParams, Parameters, Task
from dg_project.training import crew
from dg_project.training.device import resolve_device
from dg_project.training.loop import CHECKPOINT, NOT_SETTINGS, TrainResult, train
from dg_project.workspace import code_hash, place

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
    """

    source: pd.DataFrame
    source_root: Path
    pseudo: pd.DataFrame | None = None
    pseudo_root: Path | None = None


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


def train_method(name: str, settings: Parameters, data: TrainingData, workspace: Path) -> Trained:
    """Train a method, go on with an interrupted training of it, or return the finished one of the same inputs.

    Args:
        name: of the method.
        settings: all parameters; ``settings.seed`` is the seed.
        data: source and pseudo images; methods that train on the source alone never open the pseudo images.
        workspace: unfinished and finished trainings lie below it, addressed by everything that determines them.

    Raises:
        ParameterError: there is no such method.
        DataError: the method needs pseudo images and there are none.
    """
    kind = _method(name)
    if kind.batching == "source":
        data = replace(data, pseudo=None, pseudo_root=None)
    elif data.pseudo is None:
        raise DataError(f"the method '{name}' trains on pseudo domains; run `kedro run --pipeline=drsf`")
    pseudo_domains = dict.fromkeys(data.pseudo["domain"]) if data.pseudo is not None else {}
    spec = _spec(kind, settings, [settings.data.source, *pseudo_domains])
    data = _as_seen(data, spec, settings.sampling.gate.min_visibility)
    folder = place(workspace, "training", *_inputs(kind, spec, settings, data))
    finished = folder / "model"
    if finished.is_dir():
        logger.info("'%s', seed %d: trained before on the same inputs, the model is used again", name, settings.seed)
    else:
        logger.info("training '%s' with seed %d", name, settings.seed)
        crew.launch(settings.training, _train, spec, settings, data, folder, finished)
    return Trained(finished, pd.read_parquet(finished / HISTORY))


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


def score(model: Path, predictions: pd.DataFrame, images: pd.DataFrame, root: Path,
          run_id: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores of a trained model by class, and its records (``RECORD_COLUMNS``)."""
    spec, meta = read_card(model)
    by_class = score_predictions(SCORERS[spec.task], predictions, task_rows(images, spec.task, spec.head), spec.classes,
                                 root)
    facts = RunFacts(method=meta.get("label", spec.method), task=spec.task, source=meta["source"], seed=meta["seed"],
                     selection=meta["selection"], seconds_per_step=meta["seconds_per_step"], kedro_version_id=run_id,
                     images_generated=meta["images_generated"], peak_memory_mb=meta["peak_memory_mb"])
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


def _spec(kind: type[Method], settings: Parameters, domains: list[str]) -> ModelSpec:
    own = kind.Params.model_validate((settings.model_extra or {}).get(kind.name, {}))
    return ModelSpec(method=kind.name, method_params=own.model_dump(mode="json"), task=settings.task,
                     backbone=settings.backbone, head=settings.head.model_dump(mode="json"), classes=settings.classes,
                     domains=domains)


def _as_seen(data: TrainingData, spec: ModelSpec, min_visibility: float) -> TrainingData:
    """Return the rows that training opens, as the task sees them."""
    used = task_rows(data.source[data.source["split"].isin(["train", "val"])], spec.task, spec.head)
    pseudo = None if data.pseudo is None else task_rows(data.pseudo, spec.task, spec.head, min_visibility)
    return replace(data, source=used, pseudo=pseudo)


def _inputs(kind: type[Method], spec: ModelSpec, settings: Parameters, data: TrainingData) -> list[Any]:
    """Return everything that determines the trained model: parameters, images, labels and code."""
    source, pseudo = data.source, data.pseudo
    difficult = [[bool(flag) for flag in row] for row in source["difficult"]]
    pairs = [] if pseudo is None else [manifest_fingerprint(pseudo), pseudo["source_image_id"].tolist()]
    modules = [parent.__module__ for parent in kind.__mro__ if parent.__module__.startswith("dg_project.methods.")]
    own_code = sorted({"methods/" + module.split(".")[2] for module in modules if module.split(".")[2] != "base"})
    files = [name if (Path(__file__).parent / name).is_dir() else f"{name}.py" for name in own_code]
    return [spec, settings.seed, settings.training.model_dump(mode="json", exclude=NOT_SETTINGS),
            manifest_fingerprint(source), source["split"].tolist(), difficult, pairs, code_hash(*_CODE, *files)]


def _train(spec: ModelSpec, settings: Parameters, data: TrainingData, folder: Path, finished: Path) -> None:
    """Train in ``folder`` and leave model and history in ``finished``; the checkpoint goes when they are there."""
    method = build_method(spec, settings.seed)
    result = _fit(method, spec, settings, data, folder)
    if not crew.in_main_process():
        return
    _keep(method, spec, _meta(settings, data.pseudo, result), result, finished)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _fit(method: Method, spec: ModelSpec, settings: Parameters, data: TrainingData, folder: Path,
         until: int | None = None) -> TrainResult:
    """Train a method on images as its task sees them, to the end or until a step; see ``training.loop.train``."""
    params, parts = settings.training, method.model.parts
    source = ManifestDataset(select(data.source, split="train"), data.source_root, parts=parts)
    others = None
    if data.pseudo is not None and data.pseudo_root is not None:
        others = ManifestDataset(data.pseudo, data.pseudo_root, data.source_root, parts)
    stream = BatchStream(source, others, spec.domains, method.batching, params.images_per_step, settings.seed,
                         params.flip)
    held_out = _Validation(select(data.source, split="val"), data.source_root, spec, settings)
    return train(method, stream, params, folder, seed=settings.seed, validate=held_out if len(held_out) else None,
                 until=until)


def _keep(method: Method, spec: ModelSpec, meta: dict[str, Any], result: TrainResult, finished: Path) -> None:
    with atomic_folder(finished) as new:
        save_model(method, spec, new, meta)
        result.history.to_parquet(new / HISTORY)


class Course:
    """A training in parts: what the model is after one part may decide which pseudo images the next one brings.

    Attributes:
        method: the method in training.
        folder: of this course in the workspace; whoever makes the images may keep them in it.
        finished: where the model will be.

    Args:
        name: of the method.
        settings: all parameters; ``settings.seed`` is the seed.
        source: the source images, without pseudo images.
        domains: names of all pseudo domains that any part may bring: a method fixes their number when it is built.
        workspace: see ``train_method``.
        inputs: everything else that determines which images the parts bring.

    Raises:
        ParameterError: there is no such method, it trains on the source alone, or several processes are asked for.
    """

    def __init__(self, name: str, settings: Parameters, source: TrainingData, domains: list[str], workspace: Path,
                 *inputs: Any) -> None:
        kind = _method(name)
        if kind.batching == "source":
            raise ParameterError(f"the method '{name}' trains on the source alone, so there are no images to steer; "
                                 "choose a method that uses pseudo domains, such as method=drsf")
        if settings.training.processes > 1:
            raise ParameterError(f"training.processes: a training in parts has one process, not "
                                 f"{settings.training.processes}; set it to 1")
        self.settings = settings
        self.spec = _spec(kind, settings, [settings.data.source, *domains])
        seen = self._seen(source)
        self.folder = place(workspace, "course", *_inputs(kind, self.spec, settings, seen), *inputs)
        self.finished = self.folder / "model"
        self.method = build_method(self.spec, settings.seed)

    def _seen(self, data: TrainingData) -> TrainingData:
        return _as_seen(data, self.spec, self.settings.sampling.gate.min_visibility)

    def go_on(self, data: TrainingData, until: int) -> TrainResult:
        """Train until a step (1-based) on these images, from the last checkpoint on."""
        return _fit(self.method, self.spec, self.settings, self._seen(data), self.folder, until)

    def finish(self, result: TrainResult, **facts: Any) -> Trained:
        """Keep the trained model; ``facts`` stand on its card beside what every training says."""
        if not self.finished.is_dir():
            _keep(self.method, self.spec, _meta(self.settings, None, result) | facts, result, self.finished)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return self.trained()

    def trained(self) -> Trained:
        """Return the finished model."""
        return Trained(self.finished, pd.read_parquet(self.finished / HISTORY))


def _meta(settings: Parameters, pseudo: pd.DataFrame | None, result: TrainResult) -> dict[str, Any]:
    return {
        "source": settings.data.source, "seed": settings.seed, "selection": settings.training.selection,
        "step": result.best_step, "score": result.best_score, "max_steps": settings.training.max_steps,
        "images_per_step": settings.training.images_per_step, "seconds_per_step": result.seconds_per_step,
        "peak_memory_mb": result.peak_memory_mb,
        "images_generated": 0 if pseudo is None else int(pseudo.groupby("image")["candidates"].first().sum()),
    }


class _Validation:
    """Scores a method on the source's validation split."""

    def __init__(self, images: pd.DataFrame, root: Path, spec: ModelSpec, settings: Parameters) -> None:
        self.images, self.root, self.spec = images, root, spec
        self.batch_size = settings.evaluation.batch_size
        self.device: torch.device = resolve_device(settings.training.device)

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, method: Method) -> float:
        scorer = SCORERS[self.spec.task]
        found = predict_manifest(method.eval().predict, scorer, self.images, self.root, batch_size=self.batch_size,
                                 device=self.device, name="validation")
        scores = score_predictions(scorer, found, self.images, self.spec.classes, self.root,
                                   (main_metric(self.spec.task),))
        return float(scores.loc[scores["class"] == ALL, "value"].iloc[0])
