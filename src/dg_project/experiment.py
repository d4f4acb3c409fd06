"""One experiment: a method trained with one seed, kept in the workspace, and scored. Pipelines call nothing deeper."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dg_project.diffusion.user import LDMUser
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
from dg_project.online import DOMAIN, SyntheticSet, SyntheticSets, refresh_steps
from dg_project.parameters import ClassificationParams, LDMParams, OnlineParams, Parameters, Task
from dg_project.training import crew
from dg_project.training.device import resolve_device
from dg_project.training.loop import CHECKPOINT, NOT_SETTINGS, TrainResult, train
from dg_project.workspace import code_hash, place

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

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
    """A finished training: the model's folder in the workspace, one row of losses per step, the synthetic sets."""

    folder: Path
    history: pd.DataFrame
    sets: tuple[SyntheticSet, ...] = ()


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


def rows_of(model: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Return images as a trained model sees them: a classifier looks at one object per row."""
    spec, _ = read_card(model)
    return task_rows(images, spec.task, spec.head)


def train_method(name: str, settings: Parameters, data: TrainingData, workspace: Path) -> Trained:
    """Train a method, go on with an interrupted training of it, or return the finished one of the same inputs.

    Args:
        name: of the method.
        settings: all parameters; ``settings.seed`` is the seed.
        data: source and pseudo images; methods that train on the source alone never open the pseudo images.
        workspace: unfinished and finished trainings lie below it, addressed by everything that determines them.

    Raises:
        ParameterError: there is no such method, or its parameters do not fit together.
        DataError: the method needs pseudo images and there are none.
    """
    kind = _method(name)
    online = issubclass(kind.Params, OnlineParams)
    if kind.batching == "source" or online:
        data = replace(data, pseudo=None, pseudo_root=None)
    elif data.pseudo is None:
        raise DataError(f"the method '{name}' trains on pseudo domains; run `kedro run --pipeline=drsf`")
    pseudo_domains = [DOMAIN] if online else []
    if data.pseudo is not None:
        pseudo_domains = list(dict.fromkeys(data.pseudo["domain"]))
    spec = _spec(kind, settings, [settings.data.source, *pseudo_domains])
    if issubclass(kind, LDMUser) and kind.asks == "training" and settings.training.processes > 1:
        raise ParameterError(f"the method '{name}' asks the diffusion model while it trains, in one process only: set "
                             "training.processes: 1")
    ldm = _ldm_for(kind, "training", settings.ldm, settings.training.device)
    sets = _synthetic_sets(kind, settings, data, ldm, workspace)
    data = _as_seen(data, spec, settings.sampling.gate.min_visibility)
    asked: list[Any] = [] if ldm is None else [ldm.fingerprint, code_hash("diffusion/distillation.py")]
    asked += sets.identity if sets else []
    folder = place(workspace, "training", *_inputs(kind, spec, settings, data), *asked)
    finished = folder / "model"
    rounds = _Rounds(data, sets, spec, settings)
    if finished.is_dir():
        logger.info("'%s', seed %d: trained before on the same inputs, the model is used again", name, settings.seed)
    else:
        logger.info("training '%s' with seed %d", name, settings.seed)
        crew.launch(settings.training, _train, spec, settings, rounds, ldm, folder, finished)
    return Trained(finished, pd.read_parquet(finished / HISTORY), rounds.sets())


def predict(model: Path, images: pd.DataFrame, root: Path, batch_size: int, device: str,
            ldm: LDMParams | None = None) -> pd.DataFrame:
    """Return what a trained model finds in the images of a manifest (columns of its task's scorer).

    Args:
        model: its folder.
        images: rows to open.
        root: folder that their paths are relative to.
        batch_size: images at a time.
        device: where it runs.
        ldm: the diffusion model, for a method that asks it about unseen images.
    """
    where = resolve_device(device)
    method = load_model(model, where)
    spec, _ = read_card(model)
    asked = _ldm_for(type(method), "prediction", ldm, device)
    if asked is not None and isinstance(method, LDMUser):
        method.use_ldm(asked)
    return predict_manifest(method.predict, SCORERS[spec.task], task_rows(images, spec.task, spec.head), root,
                            batch_size=batch_size, device=where, name=method.name)


def predict_once(model: Path, images: pd.DataFrame, root: Path, settings: Parameters, workspace: Path) -> pd.DataFrame:
    """Return what ``predict`` returns, from the workspace where the same weights saw the same images before."""
    asked = _ldm_for(_method(read_card(model)[0].method), "prediction", settings.ldm, settings.training.device)
    more = [] if asked is None else [asked.fingerprint, settings.ldm]
    folder = place(workspace, "predictions", folder_hash(model), manifest_fingerprint(images), code_hash(*_CODE), *more)
    stored = folder / "found.parquet"
    if not stored.exists():
        found = predict(model, images, root, settings.evaluation.batch_size, settings.training.device, settings.ldm)
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
    facts = RunFacts(method=spec.method, task=spec.task, source=meta["source"], seed=meta["seed"],
                     selection=meta["selection"], seconds_per_step=meta["seconds_per_step"], kedro_version_id=run_id,
                     images_generated=meta["images_generated"], ldm_seconds=meta["ldm_seconds"],
                     peak_memory_mb=meta["peak_memory_mb"])
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


def _ldm_for(kind: type[Method], moment: Literal["training", "prediction"], ldm: LDMParams | None,
             device: str) -> Generator | None:
    """Return the opened diffusion model for a method that asks it at this moment."""
    if ldm is None or not issubclass(kind, LDMUser) or kind.asks != moment:
        return None
    from dg_project.diffusion.generator import Generator

    return Generator.from_params(ldm, resolve_device(device))


def _synthetic_sets(kind: type[Method], settings: Parameters, data: TrainingData, ldm: Generator | None,
                    workspace: Path) -> SyntheticSets | None:
    params = kind.Params.model_validate((settings.model_extra or {}).get(kind.name, {}))
    if not isinstance(params, OnlineParams) or ldm is None:
        return None
    return SyntheticSets(select(data.source, split="train"), data.source_root, params, settings, ldm, workspace)


class _Rounds:
    """What a training sees, round by round: one round to its end, or one per synthetic set.

    Raises:
        ParameterError: the training ends before the first refresh of its synthetic set.
    """

    def __init__(self, data: TrainingData, sets: SyntheticSets | None, spec: ModelSpec, settings: Parameters) -> None:
        self.data, self.spec, self.settings, self._sets = data, spec, settings, sets
        params = settings.training
        self.ends = [params.max_steps]
        if sets is not None:
            self.ends = [*refresh_steps(sets.params, len(sets.source), params.images_per_step, params.max_steps),
                         params.max_steps]

    def __iter__(self) -> Iterator[tuple[TrainingData, int]]:
        """Yield the images of every round, and the step (1-based) that it ends with."""
        for number, end in enumerate(self.ends):
            if self._sets is None:
                yield self.data, end
                continue
            now = self._sets[number]
            seen = task_rows(now.manifest, self.spec.task, self.spec.head, self.settings.sampling.gate.min_visibility)
            yield replace(self.data, pseudo=seen, pseudo_root=now.root), end

    def sets(self) -> tuple[SyntheticSet, ...]:
        """Return the synthetic sets in order."""
        return () if self._sets is None else tuple(self._sets[number] for number in range(len(self.ends)))


def _train(spec: ModelSpec, settings: Parameters, rounds: _Rounds, ldm: Generator | None, folder: Path,
           finished: Path) -> None:
    """Train in ``folder`` and leave model and history in ``finished``; the checkpoint goes when they are there."""
    params, data = settings.training, rounds.data
    method = build_method(spec, settings.seed)
    if ldm is not None and isinstance(method, LDMUser):
        method.use_ldm(ldm)
    parts = method.model.parts
    source = ManifestDataset(select(data.source, split="train"), data.source_root, parts=parts)
    held_out = _Validation(select(data.source, split="val"), data.source_root, spec, settings)
    for seen, end in rounds:
        others = None
        if seen.pseudo is not None and seen.pseudo_root is not None:
            others = ManifestDataset(seen.pseudo, seen.pseudo_root, seen.source_root, parts)
        stream = BatchStream(source, others, spec.domains, method.batching, params.images_per_step, settings.seed,
                             params.flip)
        result = train(method, stream, params, folder, seed=settings.seed, until=end,
                       validate=held_out if len(held_out) else None)
    if not crew.in_main_process():
        return
    with atomic_folder(finished) as new:
        save_model(method, spec, new, _meta(settings, rounds, result))
        result.history.to_parquet(new / HISTORY)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _meta(settings: Parameters, rounds: _Rounds, result: TrainResult) -> dict[str, Any]:
    images, seconds = _generated(rounds)
    per_image = result.history.get("log_ldm_seconds_per_image", pd.Series(dtype=float))
    seconds += float(per_image.sum()) * settings.training.images_per_step
    return {
        "source": settings.data.source, "seed": settings.seed, "selection": settings.training.selection,
        "step": result.best_step, "score": result.best_score, "max_steps": settings.training.max_steps,
        "images_per_step": settings.training.images_per_step, "seconds_per_step": result.seconds_per_step,
        "peak_memory_mb": result.peak_memory_mb, "images_generated": images, "ldm_seconds": seconds,
    }


def _generated(rounds: _Rounds) -> tuple[int, float]:
    """Return how many images the diffusion model made for a training, and how long that took."""
    if sets := rounds.sets():
        return sets[-1].card["images_generated"], sets[-1].card["ldm_seconds"]
    if rounds.data.pseudo is None:
        return 0, 0.0
    images = rounds.data.pseudo.groupby("image")[["candidates", "ldm_seconds"]].first()
    return int(images["candidates"].sum()), float(images["ldm_seconds"].sum())


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
