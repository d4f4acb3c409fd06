"""One experiment: a method trained with one seed and kept in the workspace. Pipelines call nothing deeper."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from dg_project.domains.batches import Batch, BatchStream
from dg_project.domains.dataset import ManifestDataset
from dg_project.domains.manifest import select
from dg_project.domains.unlabelled import UnlabelledStream
from dg_project.errors import ParameterError
from dg_project.evaluation.predict import predict_manifest
from dg_project.evaluation.scorer import ALL, score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.files import atomic_folder, link_or_copy
from dg_project.methods import Method
from dg_project.methods.artifact import build_method, save_model
from dg_project.online import SyntheticSet
from dg_project.parameters import Parameters
from dg_project.plan import Plan, TrainingData, plan_training
from dg_project.rounds import hand_over
from dg_project.training import crew
from dg_project.training.device import forget_peak_memory, resolve_device
from dg_project.training.loop import CHECKPOINT, VALIDATED, TrainResult, train
from dg_project.workspace import claim

logger = logging.getLogger(__name__)

HISTORY = "history.parquet"


@dataclass(frozen=True)
class Trained:
    """A finished training: the model's folder in the workspace, one row of losses per step, the synthetic sets."""

    folder: Path
    history: pd.DataFrame
    sets: tuple[SyntheticSet, ...] = ()


def train_method(name: str, settings: Parameters, data: TrainingData, workspace: Path, wait: bool = True) -> Trained:
    """Train a method, go on with an interrupted training of it, or return the finished one of the same inputs.

    Args:
        name: of the method.
        settings: all parameters; ``settings.seed`` is the seed.
        data: images; methods that train on the source alone never open the pseudo images, and only those that adapt
            open the unlabelled target images.
        workspace: unfinished and finished trainings lie below it, addressed by everything that determines them.
        wait: for another process that trains the very same.

    Raises:
        ParameterError: there is no such method, or its parameters do not fit together.
        DataError: the method needs pseudo images, or unlabelled target images, and there are none.
        BusyError: another process trains the very same, and ``wait`` is False.
    """
    plan = plan_training(name, settings, data, workspace)
    # Of the processes that train one model together, the main one holds the folder for all.
    with claim(plan.folder, wait) if crew.in_main_process() else nullcontext():
        if plan.finished.is_dir():
            logger.info("'%s', seed %d: trained before on the same inputs, the model is used again", name,
                        settings.seed)
        else:
            logger.info("training '%s' with seed %d", name, settings.seed)
            crew.launch(plan.settings.training, _train, plan)
    return trained(plan)


def find_trained(name: str, settings: Parameters, data: TrainingData, workspace: Path) -> Trained | None:
    """Return what ``train_method`` would return, or None where it would have to train."""
    plan = plan_training(name, settings, data, workspace)
    return trained(plan) if plan.finished.is_dir() else None


def trained(plan: Plan) -> Trained:
    """Return the finished training of a plan."""
    return Trained(plan.finished, pd.read_parquet(plan.finished / HISTORY), plan.rounds.all_sets())


def _train(plan: Plan) -> None:
    method = build_method(plan.spec, plan.settings.seed)
    result = fit(method, plan)
    if crew.in_main_process():
        keep(method, plan, card_of(plan, result), result)


def fit(method: Method, plan: Plan, until: int | None = None) -> TrainResult:
    """Train a method on the images of a plan, to the end or until a step; see ``training.loop.train``."""
    spec, data, params, seed = plan.spec, plan.data, plan.settings.training, plan.settings.seed
    forget_peak_memory(resolve_device(params.device))
    hand_over(plan.ldm, method)
    parts = method.model.parts
    source = ManifestDataset(select(data.source, split="train"), data.source_root, parts=parts)
    method.prepare(source, params.flip > 0, plan.workspace, resolve_device(params.device))
    if data.adapt is not None:
        method.adapt_to(list(dict.fromkeys(data.adapt["domain"])))
    for pseudo, root, end in plan.rounds:
        others = None
        if pseudo is not None and root is not None:
            others = ManifestDataset(pseudo, root, data.source_root, parts)
        stream = BatchStream.from_params(params, seed, source, others, spec.domains, method.batching, _unlabelled(plan))
        result = train(method, stream, params, plan.folder, seed=seed, validate=_validation(plan), until=until or end)
    return result


def keep(method: Method, plan: Plan, meta: dict[str, Any], result: TrainResult) -> None:
    """Leave model and history in the plan's folder; the checkpoint goes when they are there."""
    with atomic_folder(plan.finished) as new:
        save_model(method, plan.spec, new, meta)
        result.history.to_parquet(new / HISTORY)
        for weights in (plan.folder / VALIDATED).glob("step*.safetensors"):
            link_or_copy(weights, new / VALIDATED / weights.name)
    (plan.folder / CHECKPOINT).unlink(missing_ok=True)


def _unlabelled(plan: Plan) -> Callable[[int, int, int], Batch] | None:
    """Return what gives a step its unlabelled target images, or None where nothing adapts."""
    data, params = plan.data, plan.settings.training
    if data.adapt is None:
        return None
    if params.adapt_per_step < params.accumulate:
        raise ParameterError(f"training.adapt_per_step: {params.adapt_per_step} unlabelled images cannot be shared by "
                             f"{params.accumulate} micro-batches; set it to {params.accumulate} or a multiple")
    return UnlabelledStream(ManifestDataset(data.adapt, data.source_root), len(plan.spec.domains) - 1,
                            params.adapt_per_step, plan.settings.seed, params.flip).batch


def card_of(plan: Plan, result: TrainResult) -> dict[str, Any]:
    """Return what the model's card says of its training."""
    params, adapt = plan.settings.training, plan.data.adapt
    made = plan.rounds.made(result.history)
    return {
        "source": plan.settings.data.source, "seed": plan.settings.seed, "selection": params.selection,
        "step": result.best_step, "score": result.best_score, "max_steps": params.max_steps,
        "images_per_step": params.images_per_step, "seconds_per_step": result.seconds_per_step,
        "peak_memory_mb": result.peak_memory_mb, "images_generated": made.images,
        "ldm_seconds": made.seconds, "images_adapted_to": 0 if adapt is None else len(adapt),
    }


def _validation(plan: Plan) -> Callable[[Method], float] | None:
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
