"""A training before it begins: what is built, what it may open, and the place of everything that determines it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from dg_project.config import OnlineParams, Settings, TrainingParams
from dg_project.core.cache import cache_folder, lock_folder
from dg_project.core.device import forget_peak_memory, resolve_device
from dg_project.core.errors import DataError, ParameterError, nearest
from dg_project.core.files import atomic_folder, link_or_copy
from dg_project.data.batches import Batch, BatchStream
from dg_project.data.dataset import ManifestDataset
from dg_project.data.manifest import ADAPT, manifest_fingerprint, select
from dg_project.data.unlabelled import UnlabelledStream
from dg_project.evaluation.predictions import predict_manifest
from dg_project.evaluation.scorer import ALL, score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.experiments.held_out import leave_one_pseudo_out
from dg_project.experiments.training_data import TrainingData, as_seen, source_domains, task_rows
from dg_project.methods import Method, method_classes
from dg_project.methods.base import LDMUser
from dg_project.methods.model_folder import ModelSpec, build_method, hand_over, open_ldm, save_model
from dg_project.pseudo.renewal import DOMAIN, SyntheticSet, SyntheticSets, refresh_steps
from dg_project.training import distributed
from dg_project.training.loop import CHECKPOINT, NOT_SETTINGS, VALIDATED, TrainResult, train
from dg_project.training.selection import LEAVE_ONE_PSEUDO_OUT, SOURCE_VAL

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator


logger = logging.getLogger(__name__)

def code_of(kind: type[Method]) -> list[str]:
    """Return the modules whose code decides how a model of this method is trained and what it predicts."""
    return [__name__, *kind.modules()]


@dataclass(frozen=True)
class Plan:
    """A training before it begins: what is built, what it may open, where it lies and where work is kept for others."""

    spec: ModelSpec
    settings: Settings
    data: TrainingData
    rounds: Rounds
    ldm: Generator | None
    folder: Path
    workspace: Path

    @property
    def finished(self) -> Path:
        """Folder of the trained model; it is there when the training is over."""
        return self.folder / "model"


def plan_training(name: str, settings: Settings, data: TrainingData, workspace: Path) -> Plan:
    """Return the plan of a training; arguments and errors are those of ``experiment.train_method``."""
    kind = method_class(name)
    check_training(kind, settings.training)
    data = _openable(kind, data)
    before = made_before(data.pseudo)
    settings, data = _hold_out(name, settings, data)
    pseudo_domains = list(dict.fromkeys(data.pseudo["domain"])) if data.pseudo is not None else []
    pseudo_domains += [DOMAIN] * issubclass(kind.Params, OnlineParams)
    spec = model_spec(kind, settings, [*source_domains(data.source), *pseudo_domains, *[ADAPT] * kind.adapts])
    ldm, sets = _online(kind, settings, data, workspace)
    data = as_seen(data, spec, settings.sampling.gate.least_visibility)
    rounds = rounds_of(spec, settings, data, before, sets)
    asked: list[Any] = [] if ldm is None else [ldm.fingerprint]
    asked += sets.cache_key if sets else []
    folder = cache_folder(workspace, "training", *determining(kind, spec, settings, data), *asked,
                          code=code_of(kind))
    return Plan(spec, settings, data, rounds, ldm, folder, workspace)


def check_training(kind: type[Method], params: TrainingParams) -> None:
    """Refuse micro-batches and number formats that a method cannot do with."""
    if kind.inner_gradients and params.precision == "float16":
        raise ParameterError(f"training.precision: float16 loses the small gradients that '{kind.name}' takes within a "
                             "step, where no scaling keeps them; use bfloat16")
    sources = params.images_per_step // 2
    if kind.batching in ("halves", "apart") and params.accumulate > sources:
        raise ParameterError(f"training.accumulate: {params.accumulate} micro-batches need a source image each, and "
                             f"half of training.images_per_step {params.images_per_step} are source images; set it to "
                             f"{sources} or less, or raise the other")


def rounds_of(spec: ModelSpec, settings: Settings, seen: TrainingData, before: Made,
            sets: SyntheticSets | None = None) -> Rounds:
    """Return the rounds of a training on ``seen``; ``before`` says what its pseudo images took."""
    see = partial(task_rows, task=spec.task, head=spec.head, min_visibility=settings.sampling.gate.least_visibility)
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


def _hold_out(name: str, settings: Settings, data: TrainingData) -> tuple[Settings, TrainingData]:
    """Keep apart the pseudo images that choose among the weights, where the selection rule wants that."""
    params = settings.training
    if params.selection != LEAVE_ONE_PSEUDO_OUT:
        return settings, data
    if data.pseudo is None:
        logger.info("'%s' is given no pseudo image: its weights are selected by source_val", name)
        return settings.model_copy(update={"training": params.model_copy(update={"selection": SOURCE_VAL})}), data
    fold = leave_one_pseudo_out(data.source, data.pseudo, settings.seed, params.held_out_share)
    return settings, replace(data, source=fold.source, pseudo=fold.pseudo, held_out=fold.held_out)


def model_spec(kind: type[Method], settings: Settings, domains: list[str]) -> ModelSpec:
    """Return what the parameters build a method from; ``domains`` are the sources and the pseudo domains."""
    own = kind.Params.model_validate((settings.model_extra or {}).get(kind.name, {}))
    return ModelSpec(method=kind.name, method_params=own.model_dump(mode="json"), task=settings.task,
                     backbone=settings.backbone, head=settings.head.model_dump(mode="json"), classes=settings.classes,
                     domains=domains)


def untrained_spec(name: str, settings: Settings) -> ModelSpec:
    """Return what a method with one source would be built from, without the weights of its backbone."""
    kind = method_classes()[name]
    made = [] if kind.batching == "source" else \
        [DOMAIN] if issubclass(kind.Params, OnlineParams) else list(settings.synthesis.domains)
    spec = model_spec(kind, settings, [settings.data.source, *made, *[ADAPT] * kind.adapts])
    return spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"weights": None})})


def _online(kind: type[Method], settings: Settings, data: TrainingData,
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


def determining(kind: type[Method], spec: ModelSpec, settings: Settings, data: TrainingData) -> list[Any]:
    """Return everything that determines the trained model: parameters, images, labels and code."""
    source, pseudo = data.source, data.pseudo
    difficult = [[bool(flag) for flag in row] for row in source["difficult"]]
    pairs = [] if pseudo is None else [manifest_fingerprint(pseudo), pseudo["source_image_id"].tolist()]
    pairs += [] if data.held_out is None else [manifest_fingerprint(data.held_out)]
    adapt = [] if data.adapt is None else [manifest_fingerprint(data.adapt)]
    opened = kind.determined_by(kind.Params.model_validate(spec.method_params))
    return [spec, opened, settings.seed, settings.training.model_dump(mode="json", exclude=NOT_SETTINGS),
            manifest_fingerprint(source), source["split"].tolist(), difficult, pairs, *adapt]


HISTORY = "history.parquet"


@dataclass(frozen=True)
class Trained:
    """A finished training: the model's folder in the workspace, one row of losses per step, the synthetic sets."""

    folder: Path
    history: pd.DataFrame
    sets: tuple[SyntheticSet, ...] = ()


def train_method(name: str, settings: Settings, data: TrainingData, workspace: Path, wait: bool = True) -> Trained:
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
    with lock_folder(plan.folder, wait) if distributed.in_main_process() else nullcontext():
        if plan.finished.is_dir():
            logger.info("'%s', seed %d: trained before on the same inputs, the model is used again", name,
                        settings.seed)
        else:
            logger.info("training '%s' with seed %d", name, settings.seed)
            distributed.launch(plan.settings.training, _train, plan)
    return trained(plan)


def find_trained(name: str, settings: Settings, data: TrainingData, workspace: Path) -> Trained | None:
    """Return what ``train_method`` would return, or None where it would have to train."""
    plan = plan_training(name, settings, data, workspace)
    return trained(plan) if plan.finished.is_dir() else None


def trained(plan: Plan) -> Trained:
    """Return the finished training of a plan."""
    return Trained(plan.finished, pd.read_parquet(plan.finished / HISTORY), plan.rounds.all_sets())


def _train(plan: Plan) -> None:
    method = build_method(plan.spec, plan.settings.seed)
    result = fit(method, plan)
    if distributed.in_main_process():
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
        code: modules that decide it.

    Raises:
        ParameterError: there is no such method, it trains on the source alone, makes its images itself or adapts,
            weights are to be selected by held-out pseudo images, or several processes are asked for.
    """

    def __init__(self, name: str, settings: Settings, source: TrainingData, domains: list[str], workspace: Path,
                 *inputs: Any, code: Iterable[str] = ()) -> None:
        kind = method_class(name)
        check_parts(kind, settings)
        check_training(kind, settings.training)
        self.settings = settings
        self.spec = model_spec(kind, settings, [*source_domains(source.source), *domains])
        seen = as_seen(source, self.spec, settings.sampling.gate.least_visibility)
        self.folder = cache_folder(workspace, "course", *determining(kind, self.spec, settings, seen), *inputs,
                                   code=[*code_of(kind), *code])
        self.method = build_method(self.spec, settings.seed)
        self._whole = Plan(self.spec, settings, seen, rounds_of(self.spec, settings, seen, made_before(None)), None,
                            self.folder, workspace)
        self.finished = self._whole.finished

    def go_on(self, data: TrainingData, until: int) -> TrainResult:
        """Train until a step (1-based) on these images, from the last checkpoint on."""
        seen = as_seen(data, self.spec, self.settings.sampling.gate.least_visibility)
        rounds = rounds_of(self.spec, self.settings, seen, made_before(None))
        return fit(self.method, replace(self._whole, data=seen, rounds=rounds), until)

    def finish(self, result: TrainResult, **facts: Any) -> Trained:
        """Keep the trained model; ``facts`` stand on its card beside what every training says."""
        if not self.finished.is_dir():
            keep(self.method, self._whole, card_of(self._whole, result) | facts, result)
        return self.trained()

    def trained(self) -> Trained:
        """Return the finished model."""
        return trained(self._whole)


def check_parts(kind: type[Method], settings: Settings) -> None:
    """Raise ParameterError for what a training in parts cannot do."""
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


SPENT = "log_ldm_seconds_per_image"
"""Column of a history: time that the diffusion model took in a step, divided by the images of the step."""


class Made(NamedTuple):
    """How many images the diffusion model made for a training, and the seconds that took."""

    images: int
    seconds: float


class Round(NamedTuple):
    """Pseudo images that are trained on up to a step (1-based)."""

    pseudo: pd.DataFrame | None
    root: Path | None
    end: int


@dataclass(frozen=True)
class Rounds:
    """What a training sees beside its source, round by round.

    Attributes:
        pseudo: pseudo images that were made before, as the task sees them.
        root: folder that their paths are relative to.
        before: what they took.
        params: of the training.
        sets: synthetic sets, for a method that trains on them.
        see: how the task looks at their images.

    Raises:
        ParameterError: the training ends before the first refresh of its synthetic set.
    """

    pseudo: pd.DataFrame | None
    root: Path | None
    before: Made
    params: TrainingParams
    sets: SyntheticSets | None
    see: Callable[[pd.DataFrame], pd.DataFrame]

    def __post_init__(self) -> None:
        """Count the rounds, so that a training which is too short is told before it begins."""
        _ = self.ends

    @property
    def ends(self) -> list[int]:
        """The step (1-based) that each round ends with."""
        last = self.params.max_steps
        if self.sets is None:
            return [last]
        count = len(self.sets.source)
        return [*refresh_steps(self.sets.params, count, self.params.images_per_step, last), last]

    def __iter__(self) -> Iterator[Round]:
        """Yield the rounds; a synthetic set is made when its round begins."""
        for number, end in enumerate(self.ends):
            if self.sets is None:
                yield Round(self.pseudo, self.root, end)
            else:
                now = self.sets[number]
                yield Round(self.see(now.manifest), now.root, end)

    def all_sets(self) -> tuple[SyntheticSet, ...]:
        """Return the synthetic sets in order."""
        return () if self.sets is None else tuple(self.sets[number] for number in range(len(self.ends)))

    def made(self, history: pd.DataFrame) -> Made:
        """Return what the diffusion model made, and its time for that and for what every step asked it."""
        made = self.before
        if sets := self.all_sets():
            made = Made(sets[-1].card["images_generated"], sets[-1].card["ldm_seconds"])
        asked = float(history[SPENT].sum()) * self.params.images_per_step if SPENT in history else 0.0
        return Made(made.images, made.seconds + asked)


def made_before(pseudo: pd.DataFrame | None) -> Made:
    """Return what pseudo images took; a manifest without times, of an older run, gives NaN."""
    if pseudo is None:
        return Made(0, 0.0)
    known = pseudo if "ldm_seconds" in pseudo else pseudo.assign(ldm_seconds=float("nan"))
    images = known.groupby("image")[["candidates", "ldm_seconds"]].first()
    return Made(int(images["candidates"].sum()), float(images["ldm_seconds"].sum(skipna=False)))
