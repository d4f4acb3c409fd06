"""A training in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dg_project.diffusion.user import LDMUser
from dg_project.errors import ParameterError
from dg_project.experiment import Trained, card_of, fit, keep, trained
from dg_project.methods import Method
from dg_project.methods.artifact import build_method
from dg_project.parameters import OnlineParams, Parameters
from dg_project.plan import (
    Plan,
    TrainingData,
    as_seen,
    check_training,
    determining,
    method_class,
    model_spec,
    rounds_of,
    source_domains,
)
from dg_project.rounds import made_before
from dg_project.training.loop import TrainResult
from dg_project.training.selection import LEAVE_ONE_PSEUDO_OUT, SOURCE_VAL
from dg_project.workspace import place


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
        check_parts(kind, settings)
        check_training(kind, settings.training)
        self.settings = settings
        self.spec = model_spec(kind, settings, [*source_domains(source.source), *domains])
        seen = as_seen(source, self.spec, settings.sampling.gate.least_visibility)
        self.folder = place(workspace, "course", *determining(kind, self.spec, settings, seen), *inputs)
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


def check_parts(kind: type[Method], settings: Parameters) -> None:
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
