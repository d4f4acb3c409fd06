"""A training before it begins: what is built, what it may open, and the place of everything that determines it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dg_project.diffusion.user import LDMUser
from dg_project.domains.manifest import ADAPT, manifest_fingerprint, select
from dg_project.domains.views import objects, whole_images
from dg_project.errors import DataError, ParameterError, nearest
from dg_project.methods import Method, method_classes
from dg_project.methods.artifact import ModelSpec
from dg_project.online import DOMAIN, SyntheticSets
from dg_project.parameters import ClassificationParams, OnlineParams, Parameters, Task, TrainingParams
from dg_project.rounds import Made, Rounds, made_before, open_ldm
from dg_project.training.loop import NOT_SETTINGS
from dg_project.training.selection import LEAVE_ONE_PSEUDO_OUT, SOURCE_VAL, leave_one_pseudo_out
from dg_project.workspace import code_hash, place

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

logger = logging.getLogger(__name__)

_DOMAINS = ("batches", "dataset", "dealing", "instances", "label_ids", "loading", "masks", "unlabelled", "views")
_EVALUATION = ("classification", "detection", "matching", "scorer", "segmentation")
CODE = ("backbones", "tasks", "training", "methods/base.py", "styles/adain.py", "styles/mixstyle.py",
        *(f"domains/{name}.py" for name in _DOMAINS),
        *(f"evaluation/{name}.py" for name in _EVALUATION))
"""What decides how a model is trained and what it predicts, beside the method's own files."""


def code_of(kind: type[Method]) -> str:
    """Return a hash of the code that decides how a model of this method is trained and what it predicts."""
    modules = [parent.__module__ for parent in kind.__mro__ if parent.__module__.startswith("dg_project.methods.")]
    own = sorted({"methods/" + module.split(".")[2] for module in modules if module.split(".")[2] != "base"})
    return code_hash(*CODE, *(name if (Path(__file__).parent / name).is_dir() else f"{name}.py" for name in own))


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
class Plan:
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
        """Folder of the trained model; it is there when the training is over."""
        return self.folder / "model"


def plan_training(name: str, settings: Parameters, data: TrainingData, workspace: Path) -> Plan:
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
    asked: list[Any] = [] if ldm is None else [ldm.fingerprint, code_hash("rounds.py", "diffusion/distillation.py")]
    asked += sets.identity if sets else []
    folder = place(workspace, "training", *determining(kind, spec, settings, data), *asked)
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


def source_domains(source: pd.DataFrame) -> list[str]:
    """Return the names of the domains that are trained or validated on."""
    return list(dict.fromkeys(source.loc[source["split"].isin(["train", "val"]), "domain"]))


def rounds_of(spec: ModelSpec, settings: Parameters, seen: TrainingData, before: Made,
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


def untrained_spec(name: str, settings: Parameters) -> ModelSpec:
    """Return what a method with one source would be built from, without the weights of its backbone."""
    kind = method_classes()[name]
    made = [] if kind.batching == "source" else \
        [DOMAIN] if issubclass(kind.Params, OnlineParams) else list(settings.synthesis.domains)
    spec = model_spec(kind, settings, [settings.data.source, *made, *[ADAPT] * kind.adapts])
    return spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"weights": None})})


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


def as_seen(data: TrainingData, spec: ModelSpec, min_visibility: float) -> TrainingData:
    """Return the rows that training opens, as the task sees them."""
    used = task_rows(data.source[data.source["split"].isin(["train", "val"])], spec.task, spec.head)
    pseudo, held_out = (None if rows is None else task_rows(rows, spec.task, spec.head, min_visibility)
                        for rows in (data.pseudo, data.held_out))
    adapt = data.adapt
    if adapt is not None and spec.task == "classification":
        adapt = whole_images(adapt, data.source)
    return replace(data, source=used, pseudo=pseudo, held_out=held_out, adapt=adapt)


def determining(kind: type[Method], spec: ModelSpec, settings: Parameters, data: TrainingData) -> list[Any]:
    """Return everything that determines the trained model: parameters, images, labels and code."""
    source, pseudo = data.source, data.pseudo
    difficult = [[bool(flag) for flag in row] for row in source["difficult"]]
    pairs = [] if pseudo is None else [manifest_fingerprint(pseudo), pseudo["source_image_id"].tolist()]
    pairs += [] if data.held_out is None else [manifest_fingerprint(data.held_out)]
    adapt = [] if data.adapt is None else [manifest_fingerprint(data.adapt)]
    opened = kind.determined_by(kind.Params.model_validate(spec.method_params))
    return [spec, opened, settings.seed, settings.training.model_dump(mode="json", exclude=NOT_SETTINGS),
            manifest_fingerprint(source), source["split"].tolist(), difficult, pairs, *adapt,
            code_of(kind)]
