"""Which models a pipeline trains, declared by tags of its nodes.

``trains.<parameter>`` names the parameter that holds the method (``trains.method``, ``trains.uda.method``) or a study
(``trains.benchmark``, ``trains.leave_one_out``); ``trains.<method>`` names a fixed method (``trains.erm``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kedro.pipeline import Node, Pipeline

from dg_project.config import GridParams, LeaveOneOutParams, RegimeParams, Settings

TRAINS = "trains."
FOLDS = "leave_one_out"
"""Study whose task and domains are those of its folds."""
IN_ROUNDS = "in_rounds"
"""Tag of a node that trains in the closed loop."""


@dataclass(frozen=True)
class Training:
    """One training of a run, or several that differ only in seed and held-out domain.

    Attributes:
        method: method name.
        settings: the parameters, with the changes of a grid's row or the task of the folds.
        adapts: whether the node gets unlabelled target images.
        study: parameter of the grid or the leave-one-out protocol that the training belongs to, else None.
        in_rounds: whether it is trained in the closed loop.
        times: number of trainings.
    """

    method: str
    settings: Settings
    adapts: bool = False
    study: str | None = None
    in_rounds: bool = False
    times: int = 1


def trainings(pipeline: Pipeline, settings: Settings) -> list[Training]:
    """Return the trainings of a pipeline in the order of its nodes."""
    return [training for node in pipeline.nodes for tag in sorted(node.tags) if tag.startswith(TRAINS)
            for training in _trainings_of(node, tag.removeprefix(TRAINS), settings)]


def _trainings_of(node: Node, name: str, settings: Settings) -> Iterator[Training]:
    adapts, chosen = "adapt_manifest" in node.inputs, _parameter(settings, name)
    if isinstance(chosen, GridParams):
        for row in chosen.chosen_rows.values():
            yield Training(row.method, settings.with_row(row, settings.seed), adapts, name, row.loop == "closed",
                           len(chosen.seeds))
    elif isinstance(chosen, RegimeParams):
        for quality in chosen.qualities:
            one = settings.with_quality(quality)
            for row in chosen.grid.chosen_rows.values():
                yield Training(row.method, one.with_row(row, settings.seed), adapts, times=len(chosen.seeds))
    elif isinstance(chosen, LeaveOneOutParams):
        from dg_project.experiments.leave_one_out import chosen_methods, planned_settings

        for method in chosen_methods(chosen, settings.method):
            for one in planned_settings(method, settings):
                yield Training(method, one, adapts, FOLDS)
    else:
        yield Training(chosen or name, settings, adapts, in_rounds=IN_ROUNDS in node.tags)


def _parameter(settings: Settings, path: str) -> Any:
    """Return the parameter at a dotted path, or None if ``path`` is the name of a method."""
    value: Any = settings
    for name in path.split("."):
        if name not in type(value).model_fields:
            return None
        value = getattr(value, name)
    return value
