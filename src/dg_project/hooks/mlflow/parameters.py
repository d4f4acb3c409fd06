"""Choose the parameters that a run is recorded with: those of its task, its methods and its pipelines."""

from __future__ import annotations

from typing import Any

from kedro.pipeline import Pipeline

from dg_project.config import TASK_PARAMS, Settings
from dg_project.core.nested import flatten
from dg_project.pipelines.trainings import trainings

FIRST = ("task", "method", "seed", "data.source")
"""Parameters that stand first: what one looks for in a list of runs."""
_OF_TRAINING = ("training", "backbone", "data")


def used_parameters(pipeline: Pipeline, settings: Settings, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that matter to a run under their dotted paths, as ``--params`` takes them.

    Args:
        pipeline: what is run.
        settings: all parameters, typed.
        given: all parameters as they were given, with paths as they were written.
    """
    flat = flatten({name: given[name] for name in _groups(pipeline, settings) if name in given})
    return {name: flat[name] for name in FIRST if name in flat} | flat


def _groups(pipeline: Pipeline, settings: Settings) -> list[str]:
    """Return the used groups, without repetition, those of every training first."""
    planned = trainings(pipeline, settings)
    inputs = [name.removeprefix("params:").partition(".")[0] for name in sorted(pipeline.inputs())
              if name.startswith("params:")]
    groups = ["task", "method", "seed"]
    if planned:
        groups += [*(training.method for training in planned), *_OF_TRAINING, settings.task]
        groups += [training.study for training in planned if training.study]
        groups += ["closed_loop"] if any(training.in_rounds for training in planned) else []
    other_heads = TASK_PARAMS.keys() - {settings.task}
    return [name for name in dict.fromkeys([*groups, *inputs]) if name not in other_heads]
