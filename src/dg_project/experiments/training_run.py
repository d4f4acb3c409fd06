"""One training, done once and remembered.

``TrainingRun.resolve`` says what is built, which images it may read and where it is cached. ``train`` trains it,
resumes it, or returns the model that was trained before on the same inputs by the same code.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from dg_project.config import OnlineParams, Settings
from dg_project.config.paths import ENVIRONMENT_VARIABLE, OWN_ENVIRONMENT
from dg_project.core.cache import cache_folder, lock_folder
from dg_project.core.device import reset_peak_memory, resolve_device
from dg_project.core.errors import ParameterError
from dg_project.core.files import atomic_folder, link_or_copy
from dg_project.data.batches import Batch, BatchStream
from dg_project.data.dataset import ManifestDataset
from dg_project.data.manifest import ADAPT, manifest_fingerprint, select
from dg_project.data.unlabelled import UnlabelledStream
from dg_project.evaluation.predictions import predict_manifest
from dg_project.evaluation.scorer import ALL, score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.experiments.training_checks import check_data
from dg_project.experiments.training_data import Segments, TrainingData, generated_before
from dg_project.methods import Method, method_class
from dg_project.methods.base import Needs, check_batches
from dg_project.methods.model_folder import ModelSpec, attach_ldm, build_method, load_model, open_ldm, save_model
from dg_project.pseudo.renewal import DOMAIN, SyntheticSet, SyntheticSets
from dg_project.training import distributed
from dg_project.training.loop import CHECKPOINT, NOT_SETTINGS, VALIDATED, TrainResult, train
from dg_project.training.selection import LEAVE_ONE_PSEUDO_OUT, SOURCE_VAL

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

logger = logging.getLogger(__name__)

HISTORY = "history.parquet"


@dataclass(frozen=True)
class Trained:
    """A finished training: the model's folder in the cache, one row of losses per step, the synthetic sets."""

    folder: Path
    history: pd.DataFrame
    sets: tuple[SyntheticSet, ...] = ()


@dataclass(frozen=True)
class TrainingRun:
    """One training before, while and after it runs; make it with ``resolve`` or ``resolve_in_parts``.

    Attributes:
        spec: what is built.
        settings: all parameters; ``settings.seed`` is the seed.
        needs: the method's needs on the batches that the settings chose.
        data: images that it reads, as the task sees them.
        segments: its parts with one set of pseudo images each.
        ldm: the diffusion model of a method that needs it in training, else None.
        reference: training of the model that the method refers to, else None.
        folder: cache folder, named after everything that decides the result.
        workspace: folder of all cached work.
    """

    spec: ModelSpec
    settings: Settings
    needs: Needs
    data: TrainingData
    segments: Segments
    ldm: Generator | None
    reference: TrainingRun | None
    folder: Path
    workspace: Path

    @classmethod
    def resolve(cls, name: str, settings: Settings, data: TrainingData, workspace: Path) -> Self:
        """Resolve one training: model spec, allowed data and cache folder.

        Args:
            name: method name.
            settings: all parameters; ``settings.seed`` is the seed.
            data: images of the run; the method gets those that it needs.
            workspace: folder of cached work; unfinished and finished trainings are kept below it.

        Raises:
            ParameterError: there is no such method, or its parameters do not fit together.
            DataError: the method needs pseudo images, or unlabelled target images, and there are none.
        """
        kind = method_class(name)
        check_batches(kind, settings.training)
        needs = kind.needs.on(settings.training.batches)
        data = data.allowed(kind, needs)
        check_data(data, settings, name)
        generated = generated_before(data.pseudo)
        data, settings = data.split(name, settings)
        reference = _reference(kind, settings, data, workspace)
        spec = ModelSpec.of(kind, settings, domain_names(needs, data.source_domains, data.pseudo_domains))
        ldm = open_ldm(kind, "training", settings.ldm, settings.training.device)
        sets = _synthetic_sets(kind, settings, data, ldm, workspace)
        min_visibility = settings.sampling.gate.least_visibility(spec.task)
        data = data.as_seen(spec, min_visibility)
        segments = Segments(data, settings.training, generated, sets, spec, min_visibility)
        inputs: list[Any] = [] if ldm is None else [ldm.fingerprint]
        inputs += [] if reference is None else [reference.folder.name]
        inputs += sets.cache_key if sets else []
        folder = cache_folder(workspace, "training", *key_inputs(spec, settings, data), *inputs, code=code_of(kind))
        return cls(spec, settings, needs, data, segments, ldm, reference, folder, workspace)

    @classmethod
    def resolve_in_parts(cls, name: str, settings: Settings, data: TrainingData, domains: Sequence[str],
                         workspace: Path, inputs: Iterable[Any] = (), code: Iterable[str] = ()) -> Self:
        """Resolve a training that pauses so that the caller can choose the next pseudo images (see ``advance``).

        Args:
            name: method name.
            settings: all parameters.
            data: source images, without pseudo images.
            domains: names of all pseudo domains that any part may use: a method fixes their number when it is built.
            workspace: folder of cached work.
            inputs: everything else that decides which pseudo images the parts get.
            code: modules that decide it.

        Raises:
            ParameterError: see ``check_parts`` and ``resolve``.
        """
        kind = method_class(name)
        check_parts(kind, settings)
        check_batches(kind, settings.training)
        needs = kind.needs.on(settings.training.batches)
        check_data(data, settings, name)
        spec = ModelSpec.of(kind, settings, domain_names(needs, data.source_domains, domains))
        min_visibility = settings.sampling.gate.least_visibility(spec.task)
        data = data.as_seen(spec, min_visibility)
        segments = Segments(data, settings.training, generated_before(None), None, spec, min_visibility)
        folder = cache_folder(workspace, "training_in_parts", *key_inputs(spec, settings, data), *inputs,
                              code=[*code_of(kind), *code])
        return cls(spec, settings, needs, data, segments, None, None, folder, workspace)

    @property
    def finished(self) -> Path:
        """Folder of the trained model; it exists when the training is over."""
        return self.folder / "model"

    @cached_property
    def method(self) -> Method:
        """The method in training, built at first use."""
        return build_method(self.spec, self.settings.seed)

    def cached(self) -> Trained | None:
        """Return the finished training, or None if it has to be trained."""
        if not self.finished.is_dir():
            return None
        return Trained(self.finished, pd.read_parquet(self.finished / HISTORY), self.segments.all_sets())

    def train(self, wait: bool = True) -> Trained:
        """Train, resume an interrupted training, or return the finished one.

        Args:
            wait: wait for another process that trains the same; False raises ``BusyError`` instead.

        Raises:
            BusyError: another process trains the same, and ``wait`` is False.
        """
        name, seed = self.spec.method, self.settings.seed
        # Of the processes that train one model together, the main one holds the lock.
        with lock_folder(self.folder, wait) if distributed.in_main_process() else nullcontext():
            if self.finished.is_dir():
                logger.info("'%s', seed %d: found under training/%s, trained before on the same inputs by the same "
                            "code", name, seed, self.folder.name)
            else:
                if self.reference is not None:
                    self.reference.train()
                logger.info("training '%s' with seed %d", name, seed)
                distributed.launch(self.settings.training, _train, self)
        trained = self.cached()
        assert trained is not None
        return trained

    def advance(self, data: TrainingData, until: int) -> TrainResult:
        """Train in parts: on these images from the last checkpoint to step ``until`` (1-based). Hold the lock."""
        min_visibility = self.settings.sampling.gate.least_visibility(self.spec.task)
        data = data.as_seen(self.spec, min_visibility)
        segments = Segments(data, self.settings.training, generated_before(None), None, self.spec, min_visibility)
        return self._fit(data, segments, until)

    def finish(self, result: TrainResult, **facts: Any) -> Trained:
        """Save the trained model; ``facts`` stand on its card next to those of every training."""
        if not self.finished.is_dir():
            self._save(result, facts)
        trained = self.cached()
        assert trained is not None
        return trained

    def _fit(self, data: TrainingData, segments: Segments, until: int | None = None) -> TrainResult:
        params, seed, parts = self.settings.training, self.settings.seed, self.method.model.parts
        device = resolve_device(params.device)
        reset_peak_memory(device)
        attach_ldm(self.ldm, self.method)
        if self.reference is not None:
            self.method.use_reference(load_model(self.reference.finished, device))
        if params.compile:
            self.method.model.backbone.compile_network()
        source = ManifestDataset(select(data.source, split="train"), data.source_root, parts=parts)
        self.method.prepare(source, params.flip > 0, self.workspace, device)
        if data.adapt is not None:
            self.method.adapt_to(list(dict.fromkeys(data.adapt["domain"])))
        for pseudo, root, end in segments:
            others = None
            if pseudo is not None and root is not None:
                others = ManifestDataset(pseudo, root, data.source_root, parts)
            stream = BatchStream.from_params(params, seed, source, others, self.spec.domains, self.needs.batches,
                                             self._unlabelled(data))
            result = train(self.method, stream, params, self.folder, seed=seed, validate=self._validation(data),
                           until=until or end)
        return result

    def _save(self, result: TrainResult, facts: dict[str, Any]) -> None:
        """Write model and history, then drop the checkpoint."""
        card = self._card(result) | facts
        with atomic_folder(self.finished) as new:
            save_model(self.method, self.spec, new, card)
            history = result.history.copy()
            history.attrs["method"] = card.get("label", self.spec.method)
            history.to_parquet(new / HISTORY)
            for weights in (self.folder / VALIDATED).glob("step*.safetensors"):
                link_or_copy(weights, new / VALIDATED / weights.name)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def _card(self, result: TrainResult) -> dict[str, Any]:
        """Return the facts of the training for the model's card."""
        params, adapt = self.settings.training, self.data.adapt
        generated = self.segments.cost(result.history)
        return {
            "source": self.settings.data.source, "seed": self.settings.seed, "selection": params.selection,
            "step": result.best_step, "score": result.best_score, "max_steps": params.max_steps,
            "images_per_step": params.images_per_step, "seconds_per_step": result.seconds_per_step,
            "peak_memory_mb": result.peak_memory_mb, "images_generated": generated.images,
            "generator": self.settings.synthesis.generator, "ldm_seconds": generated.seconds,
            "images_adapted_to": 0 if adapt is None else len(adapt),
            "environment": os.environ.get(ENVIRONMENT_VARIABLE, OWN_ENVIRONMENT),
        }

    def _unlabelled(self, data: TrainingData) -> Callable[[int, int, int], Batch] | None:
        """Return the source of unlabelled target images for each step (UDA), else None."""
        params = self.settings.training
        if data.adapt is None:
            return None
        if params.adapt_per_step < params.accumulate:
            raise ParameterError(f"training.adapt_per_step: {params.adapt_per_step} unlabelled images cannot be shared "
                                 f"by {params.accumulate} micro-batches; set it to {params.accumulate} or a multiple")
        return UnlabelledStream(ManifestDataset(data.adapt, data.source_root), len(self.spec.domains) - 1,
                                params.adapt_per_step, self.settings.seed, params.flip).batch

    def _validation(self, data: TrainingData) -> Callable[[Method], float] | None:
        """Return the score that selects weights, or None if the source has no validation split.

        It is the mean over the source's validation split and, where there are any, the held-out pseudo images.
        """
        spec, evaluation = self.spec, self.settings.evaluation
        parts = [(select(data.source, split="val"), data.source_root)]
        if data.held_out is not None and data.pseudo_root is not None:
            parts.append((data.held_out, data.pseudo_root))
        device, scorer = resolve_device(self.settings.training.device), SCORERS[spec.task]

        def score_part(method: Method, images: pd.DataFrame, root: Path) -> float:
            found = predict_manifest(method.eval().predict, scorer, images, root, batch_size=evaluation.batch_size,
                                     device=device, name="validation")
            # Labels of pseudo images are those of their source images, below the source's root.
            scores = score_predictions(scorer, found, images, spec.classes, data.source_root,
                                       (main_metric(spec.task),))
            return float(scores.loc[scores["class"] == ALL, "value"].iloc[0])

        if parts[0][0].empty:
            return None
        return lambda method: fmean(score_part(method, images, root) for images, root in parts)


def code_of(kind: type[Method]) -> list[str]:
    """Return the modules whose code decides how a model of this method is trained and what it predicts."""
    return [__name__, *kind.code_modules()]


def domain_names(needs: Needs, sources: Sequence[str], pseudo: Sequence[str]) -> list[str]:
    """Return the domain names by ``domain_id``: the sources, the pseudo domains, ``adapt`` for UDA methods."""
    names = list(sources)
    if needs.pseudo == "online":
        names.append(DOMAIN)
    elif needs.pseudo == "offline":
        names += pseudo
    if needs.unlabelled_targets:
        names.append(ADAPT)
    return names


def untrained_spec(name: str, settings: Settings) -> ModelSpec:
    """Return what a method with one source would be built from, without pretrained weights."""
    kind = method_class(name)
    domains = domain_names(kind.needs.on(settings.training.batches), [settings.data.source],
                           list(settings.synthesis.domains))
    return ModelSpec.of(kind, settings, domains).without_weights()


def check_parts(kind: type[Method], settings: Settings) -> None:
    """Raise ``ParameterError`` for what a training in parts cannot do."""
    needs = kind.needs.on(settings.training.batches)
    if needs.pseudo != "offline" or needs.ldm == "training" or needs.unlabelled_targets:
        why = ("adapts to unlabelled target images" if needs.unlabelled_targets else "makes its images while it trains"
               if needs.pseudo == "online" or needs.ldm == "training" else "trains on the source alone")
        raise ParameterError(f"the method '{kind.name}' {why}, so there are no images to steer; choose a method that "
                             "uses pseudo domains alone, such as method=drsf")
    if (reference := kind.reference(kind.params_of(settings))) is not None:
        raise ParameterError(f"the method '{kind.name}' refers to a trained '{reference}' (its parameter reference), "
                             "which a training in parts cannot do: choose another reference")
    if settings.training.processes > 1:
        raise ParameterError(f"training.processes: a training in parts has one process, not "
                             f"{settings.training.processes}; set it to 1")
    if settings.training.selection == LEAVE_ONE_PSEUDO_OUT:
        raise ParameterError(f"training.selection: the pseudo images of a training in parts change, so none can be "
                             f"held out of all of it; set it to {SOURCE_VAL}")


def key_inputs(spec: ModelSpec, settings: Settings, data: TrainingData) -> list[Any]:
    """Return everything next to the code that decides the trained model: parameters, images and labels."""
    source, pseudo, kind = data.source, data.pseudo, method_class(spec.method)
    difficult = [[bool(flag) for flag in row] for row in source["difficult"]]
    pairs = [] if pseudo is None else [manifest_fingerprint(pseudo), pseudo["source_image_id"].tolist()]
    pairs += [] if data.held_out is None else [manifest_fingerprint(data.held_out)]
    adapt = [] if data.adapt is None else [manifest_fingerprint(data.adapt)]
    opened = kind.determined_by(kind.Params.model_validate(spec.method_params))
    return [spec, opened, settings.seed, settings.training.model_dump(mode="json", exclude=NOT_SETTINGS),
            manifest_fingerprint(source), source["split"].tolist(), difficult, pairs, *adapt]


def _reference(kind: type[Method], settings: Settings, data: TrainingData, workspace: Path) -> TrainingRun | None:
    """Return the training, on the same source images, of the model that a method refers to."""
    name = kind.reference(kind.params_of(settings))
    if name is None:
        return None
    alone = settings.model_copy(update={"training": settings.training.model_copy(update={"batches": None})})
    return TrainingRun.resolve(name, alone, TrainingData(data.source, data.source_root), workspace)


def _synthetic_sets(kind: type[Method], settings: Settings, data: TrainingData, ldm: Generator | None,
                    workspace: Path) -> SyntheticSets | None:
    """Return the synthetic sets of a method that renews its pseudo images while it trains."""
    params = kind.params_of(settings)
    if ldm is None or not isinstance(params, OnlineParams):
        return None
    return SyntheticSets(select(data.source, split="train"), data.source_root, params, settings, ldm, workspace)


def _train(run: TrainingRun) -> None:
    result = run._fit(run.data, run.segments)
    if distributed.in_main_process():
        run._save(result, {})
