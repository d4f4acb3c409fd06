"""One child run per trained model, with the same metric names in each, so that the curves of methods share a chart."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from dg_project.core.nested import flatten
from dg_project.hooks.mlflow import runs

if TYPE_CHECKING:
    from dg_project.pipelines.trainings import Training

PARENT, ROLE = "mlflow.parentRunId", "dg_project.role"
"""Tags of a child run: its parent, and whose run it is: ``model``, ``baseline`` or ``naive``."""


def start(state: dict[str, Any], role: str, training: Training) -> str:
    """Create the child run of a training and return its id; a training that ran in this run before has one.

    Args:
        state: state of the parent run.
        role: prefix of the catalog's datasets of this model; ``model`` for the method of the run.
        training: what is trained.
    """
    from mlflow.entities import Param

    if found := find(state, role):
        return found
    settings, api = training.settings, runs.client(state)
    name = f"{training.method} {settings.task} s{settings.seed} {settings.training.max_steps}"
    run = api.create_run(state["experiment_id"], tags={PARENT: state["run"], ROLE: role}, run_name=name).info.run_id
    own = settings.methods.get(training.method)
    params = {"task": settings.task, "method": training.method, "seed": settings.seed,
              **flatten({"training": settings.training, **({training.method: own} if own else {})})}
    api.log_batch(run, params=[Param(key, str(value)[:runs.LONGEST_PARAMETER]) for key, value in params.items()])
    return str(run)


def find(state: dict[str, Any], role: str) -> str | None:
    """Return the id of the child run of a role, if it was started."""
    return _find(state["uri"], state["experiment_id"], state["run"], role) or None


@cache
def _remembered(uri: str, experiment: str, parent: str, role: str) -> str:
    """See ``_find``; only what exists is remembered."""
    found = runs.client({"uri": uri}).search_runs(
        [experiment], f"tags.`{PARENT}` = '{parent}' and tags.`{ROLE}` = '{role}'", max_results=1)
    if not found:
        raise LookupError(role)
    return str(found[0].info.run_id)


def _find(uri: str, experiment: str, parent: str, role: str) -> str:
    try:
        return _remembered(uri, experiment, parent, role)
    except LookupError:
        return ""


def finish(state: dict[str, Any], status: str) -> None:
    """Close the child runs that are still open with the status of their parent."""
    api = runs.client(state)
    for child in api.search_runs([state["experiment_id"]], f"tags.`{PARENT}` = '{state['run']}'"):
        if child.info.status == "RUNNING":
            api.set_terminated(child.info.run_id, status)
