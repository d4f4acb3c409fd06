"""One experiment: a method trained with one seed, kept in the workspace, and scored. Pipelines call nothing deeper."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd

from dg_project.diffusion.user import LDMUser
from dg_project.domains.batches import Batch, BatchStream
from dg_project.domains.dataset import ManifestDataset
from dg_project.domains.manifest import ADAPT, manifest_fingerprint, select
from dg_project.domains.unlabelled import UnlabelledStream
from dg_project.domains.views import objects, whole_images
from dg_project.errors import DataError, ParameterError, nearest
from dg_project.evaluation.predict import predict_manifest
from dg_project.evaluation.scorer import ALL, score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.files import atomic_folder
from dg_project.methods import Method, method_classes
from dg_project.methods.artifact import ModelSpec, build_method, save_model
from dg_project.online import DOMAIN, SyntheticSet, SyntheticSets
from dg_project.parameters import ClassificationParams, OnlineParams, Parameters, Task
from dg_project.rounds import Made, Rounds, hand_over, made_before, open_ldm
from dg_project.training import crew
from dg_project.training.device import forget_peak_memory, resolve_device
from dg_project.training.loop import CHECKPOINT, NOT_SETTINGS, TrainResult, train
from dg_project.training.selection import LEAVE_ONE_PSEUDO_OUT, SOURCE_VAL, leave_one_pseudo_out
from dg_project.workspace import claim, code_hash, place

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

logger = logging.getLogger(__name__)

HISTORY = "history.parquet"
_DOMAINS = ("batches", "dataset", "dealing", "instances", "label_ids", "loading", "masks", "unlabelled", "views")
_EVALUATION = ("classification", "detection", "matching", "scorer", "segmentation")
CODE = ("backbones", "tasks", "training", "methods/base.py", *(f"domains/{name}.py" for name in _DOMAINS),
        *(f"evaluation/{name}.py" for name in _EVALUATION))
"""What decides how a model is trained and what it predicts, beside the method's own files."""


@dataclass(frozen=True)
class TrainingData:
    """All that a training may open: no target among it, but for images without labels where a method adapts.

    Attributes:
        source: manifest of the source domain (or of several), train and val.
        source_root: folder that its paths are relative to.
        pseudo: manifest of the pseudo domains, or None.
        pseudo_root: folder that its paths are relative to.
        held_out: pseudo images that choose among the weights and never train, or None.
        adapt: manifest of unlabelled target images, whose paths are relative to ``source_root`` too, or None.
    """

    source: pd.DataFrame
    source_root: Path
    pseudo: pd.DataFrame | None = None
    pseudo_root: Path | None = None
    held_out: pd.DataFrame | None = None
    adapt: pd.DataFrame | None = None


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


@dataclass(frozen=True)
class _Plan:
    """A training before it begins: what is built, what it may open, where it lies and where work is kept for others."""

    spec: ModelSpec
    settings: Parameters
    data: TrainingData
    rounds: Rounds
    ldm: Generator | None
    folder: Path
    workspace: Path

    @property
    def finished(self) -> Path:
        return self.folder / "model"


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
    return Trained(plan.finished, pd.read_parquet(plan.finished / HISTORY), plan.rounds.all_sets())


def _plan(name: str, settings: Parameters, data: TrainingData, workspace: Path) -> _Plan:
    kind = method_class(name)
    data = _openable(kind, data)
    before = made_before(data.pseudo)
    settings, data = _hold_out(name, settings, data)
    pseudo_domains = list(dict.fromkeys(data.pseudo["domain"])) if data.pseudo is not None else []
    pseudo_domains += [DOMAIN] * issubclass(kind.Params, OnlineParams)
    spec = model_spec(kind, settings, [*_sources(data.source), *pseudo_domains, *[ADAPT] * kind.adapts])
    ldm, sets = _online(kind, settings, data, workspace)
    data = _as_seen(data, spec, settings.sampling.gate.min_visibility)
    rounds = _rounds(spec, settings, data, before, sets)
    asked: list[Any] = [] if ldm is None else [ldm.fingerprint, code_hash("rounds.py", "diffusion/distillation.py")]
    asked += sets.identity if sets else []
    folder = place(workspace, "training", *_inputs(kind, spec, settings, data), *asked)
    return _Plan(spec, settings, data, rounds, ldm, folder, workspace)


def _sources(source: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(source.loc[source["split"].isin(["train", "val"]), "domain"]))


def _rounds(spec: ModelSpec, settings: Parameters, seen: TrainingData, before: Made,
            sets: SyntheticSets | None = None) -> Rounds:
    see = partial(task_rows, task=spec.task, head=spec.head, min_visibility=settings.sampling.gate.min_visibility)
    return Rounds(seen.pseudo, seen.pseudo_root, before, settings.training, sets, see)


def _openable(kind: type[Method], data: TrainingData) -> TrainingData:
    """Return what of the images a method may open; it gets what it needs, or there is an error."""
    if kind.batching == "source" or issubclass(kind.Params, OnlineParams):
        data = replace(data, pseudo=None, pseudo_root=None)
    elif data.pseudo is None:
        raise DataError(f"the method '{kind.name}' trains on pseudo domains; run `kedro run --pipeline=drsf`")
    if not kind.adapts:
        return replace(data, adapt=None)
    if data.adapt is None or data.adapt.empty:
        raise DataError(f"the method '{kind.name}' adapts to unlabelled target images, and there are none: run `kedro "
                        "run --pipeline=uda`, or name their split with data.adapt_split")
    return data


def method_class(name: str) -> type[Method]:
    """Return the class of a method.

    Raises:
        ParameterError: there is none of that name.
    """
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
        logger.info("'%s' is given no pseudo image: its weights are selected by source_val", name)
        return settings.model_copy(update={"training": params.model_copy(update={"selection": SOURCE_VAL})}), data
    fold = leave_one_pseudo_out(data.source, data.pseudo, settings.seed, params.held_out_share)
    return settings, replace(data, source=fold.source, pseudo=fold.pseudo, held_out=fold.held_out)


def model_spec(kind: type[Method], settings: Parameters, domains: list[str]) -> ModelSpec:
    """Return what the parameters build a method from; ``domains`` are the sources and the pseudo domains."""
    own = kind.Params.model_validate((settings.model_extra or {}).get(kind.name, {}))
    return ModelSpec(method=kind.name, method_params=own.model_dump(mode="json"), task=settings.task,
                     backbone=settings.backbone, head=settings.head.model_dump(mode="json"), classes=settings.classes,
                     domains=domains)


def _online(kind: type[Method], settings: Parameters, data: TrainingData,
            workspace: Path) -> tuple[Generator | None, SyntheticSets | None]:
    """Return the diffusion model for a method that asks it while it trains, and the sets that it makes for it."""
    if issubclass(kind, LDMUser) and kind.asks == "training" and settings.training.processes > 1:
        raise ParameterError(f"the method '{kind.name}' asks the diffusion model while it trains, in one process only: "
                             "set training.processes: 1")
    ldm = open_ldm(kind, "training", settings.ldm, settings.training.device)
    params = kind.Params.model_validate((settings.model_extra or {}).get(kind.name, {}))
    if ldm is None or not isinstance(params, OnlineParams):
        return ldm, None
    return ldm, SyntheticSets(select(data.source, split="train"), data.source_root, params, settings, ldm, workspace)


def _as_seen(data: TrainingData, spec: ModelSpec, min_visibility: float) -> TrainingData:
    """Return the rows that training opens, as the task sees them."""
    used = task_rows(data.source[data.source["split"].isin(["train", "val"])], spec.task, spec.head)
    pseudo, held_out = (None if rows is None else task_rows(rows, spec.task, spec.head, min_visibility)
                        for rows in (data.pseudo, data.held_out))
    adapt = data.adapt
    if adapt is not None and spec.task == "classification":
        adapt = whole_images(adapt, data.source)
    return replace(data, source=used, pseudo=pseudo, held_out=held_out, adapt=adapt)


def _inputs(kind: type[Method], spec: ModelSpec, settings: Parameters, data: TrainingData) -> list[Any]:
    """Return everything that determines the trained model: parameters, images, labels and code."""
    source, pseudo = data.source, data.pseudo
    difficult = [[bool(flag) for flag in row] for row in source["difficult"]]
    pairs = [] if pseudo is None else [manifest_fingerprint(pseudo), pseudo["source_image_id"].tolist()]
    pairs += [] if data.held_out is None else [manifest_fingerprint(data.held_out)]
    adapt = [] if data.adapt is None else [manifest_fingerprint(data.adapt)]
    modules = [parent.__module__ for parent in kind.__mro__ if parent.__module__.startswith("dg_project.methods.")]
    own_code = sorted({"methods/" + module.split(".")[2] for module in modules if module.split(".")[2] != "base"})
    files = [name if (Path(__file__).parent / name).is_dir() else f"{name}.py" for name in own_code]
    opened = kind.determined_by(kind.Params.model_validate(spec.method_params))
    return [spec, opened, settings.seed, settings.training.model_dump(mode="json", exclude=NOT_SETTINGS),
            manifest_fingerprint(source), source["split"].tolist(), difficult, pairs, *adapt,
            code_hash(*CODE, *files)]


def _train(plan: _Plan) -> None:
    """Train in the plan's folder and leave model and history in it; the checkpoint goes when they are there."""
    method = build_method(plan.spec, plan.settings.seed)
    result = _fit(method, plan)
    if crew.in_main_process():
        _keep(method, plan, _meta(plan, result), result)


def _fit(method: Method, plan: _Plan, until: int | None = None) -> TrainResult:
    """Train a method on the images of a plan, to the end or until a step; see ``training.loop.train``."""
    spec, data, params, seed = plan.spec, plan.data, plan.settings.training, plan.settings.seed
    forget_peak_memory(resolve_device(params.device))
    hand_over(plan.ldm, method)
    parts = method.model.parts
    source = ManifestDataset(select(data.source, split="train"), data.source_root, parts=parts)
    method.prepare(source, params.flip > 0, plan.workspace, resolve_device(params.device))
    for pseudo, root, end in plan.rounds:
        others = None
        if pseudo is not None and root is not None:
            others = ManifestDataset(pseudo, root, data.source_root, parts)
        stream = BatchStream(source, others, spec.domains, method.batching, params.images_per_step, seed, params.flip,
                             _unlabelled(plan), params.pairs_per_step, params.pseudo_per_source)
        result = train(method, stream, params, plan.folder, seed=seed, validate=_validation(plan), until=until or end)
    return result


def _keep(method: Method, plan: _Plan, meta: dict[str, Any], result: TrainResult) -> None:
    """Leave model and history in the plan's folder; the checkpoint goes when they are there."""
    with atomic_folder(plan.finished) as new:
        save_model(method, plan.spec, new, meta)
        result.history.to_parquet(new / HISTORY)
    (plan.folder / CHECKPOINT).unlink(missing_ok=True)


class Course:
    """A training in parts: what the model is after one part may decide which pseudo images the next one brings.

    Whoever trains it claims its folder.

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
        ParameterError: there is no such method, it trains on the source alone, makes its images itself or adapts,
            weights are to be selected by held-out pseudo images, or several processes are asked for.
    """

    def __init__(self, name: str, settings: Parameters, source: TrainingData, domains: list[str], workspace: Path,
                 *inputs: Any) -> None:
        kind = method_class(name)
        _check_parts(kind, settings)
        self.settings = settings
        self.spec = model_spec(kind, settings, [*_sources(source.source), *domains])
        seen = _as_seen(source, self.spec, settings.sampling.gate.min_visibility)
        self.folder = place(workspace, "course", *_inputs(kind, self.spec, settings, seen), *inputs)
        self.method = build_method(self.spec, settings.seed)
        self._whole = _Plan(self.spec, settings, seen, _rounds(self.spec, settings, seen, made_before(None)), None,
                            self.folder, workspace)
        self.finished = self._whole.finished

    def go_on(self, data: TrainingData, until: int) -> TrainResult:
        """Train until a step (1-based) on these images, from the last checkpoint on."""
        seen = _as_seen(data, self.spec, self.settings.sampling.gate.min_visibility)
        rounds = _rounds(self.spec, self.settings, seen, made_before(None))
        return _fit(self.method, replace(self._whole, data=seen, rounds=rounds), until)

    def finish(self, result: TrainResult, **facts: Any) -> Trained:
        """Keep the trained model; ``facts`` stand on its card beside what every training says."""
        if not self.finished.is_dir():
            _keep(self.method, self._whole, _meta(self._whole, result) | facts, result)
        return self.trained()

    def trained(self) -> Trained:
        """Return the finished model."""
        return _trained(self._whole)


def _check_parts(kind: type[Method], settings: Parameters) -> None:
    """Refuse what a training in parts cannot do."""
    makes_its_own = issubclass(kind.Params, OnlineParams) or (issubclass(kind, LDMUser) and kind.asks == "training")
    if kind.batching == "source" or makes_its_own or kind.adapts:
        why = ("adapts to unlabelled target images" if kind.adapts else "makes its images while it trains"
               if makes_its_own else "trains on the source alone")
        raise ParameterError(f"the method '{kind.name}' {why}, so there are no images to steer; choose a method that "
                             "uses pseudo domains alone, such as method=drsf")
    if settings.training.processes > 1:
        raise ParameterError(f"training.processes: a training in parts has one process, not "
                             f"{settings.training.processes}; set it to 1")
    if settings.training.selection == LEAVE_ONE_PSEUDO_OUT:
        raise ParameterError(f"training.selection: the pseudo images of a training in parts change, so none can be "
                             f"held out of all of it; set it to {SOURCE_VAL}")


def _unlabelled(plan: _Plan) -> Callable[[int, int, int], Batch] | None:
    """Return what gives a step its unlabelled target images, or None where nothing adapts."""
    data, params = plan.data, plan.settings.training
    if data.adapt is None:
        return None
    if params.adapt_per_step < params.accumulate:
        raise ParameterError(f"training.adapt_per_step: {params.adapt_per_step} unlabelled images cannot be shared by "
                             f"{params.accumulate} micro-batches; set it to {params.accumulate} or a multiple")
    return UnlabelledStream(ManifestDataset(data.adapt, data.source_root), len(plan.spec.domains) - 1,
                            params.adapt_per_step, plan.settings.seed, params.flip).batch


def _meta(plan: _Plan, result: TrainResult) -> dict[str, Any]:
    params, adapt = plan.settings.training, plan.data.adapt
    made = plan.rounds.made(result.history)
    return {
        "source": plan.settings.data.source, "seed": plan.settings.seed, "selection": params.selection,
        "step": result.best_step, "score": result.best_score, "max_steps": params.max_steps,
        "images_per_step": params.images_per_step, "seconds_per_step": result.seconds_per_step,
        "peak_memory_mb": result.peak_memory_mb, "images_generated": made.images,
        "ldm_seconds": made.seconds, "images_adapted_to": 0 if adapt is None else len(adapt),
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
