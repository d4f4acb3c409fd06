"""Open an MLflow run, log its parameters and close it.

Worker processes find the run through the environment, and every call names it, because MLflow's own "active run"
belongs to one thread.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dg_project.core.cache import lock_file
from dg_project.core.provenance import commit, is_dirty

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATE_VARIABLE = "DG_PROJECT_MLFLOW"
LONGEST_PARAMETER = 6000


def current() -> dict[str, Any] | None:
    """Return the state of the open MLflow run: uri, run, name, experiment, experiment_id, kinds."""
    raw = os.environ.get(STATE_VARIABLE)
    return json.loads(raw) if raw else None


def client(state: dict[str, Any]) -> MlflowClient:
    """Return a client of the tracking server that ``state`` belongs to."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=state["uri"])


def start(root: Path, config: dict[str, Any], run_params: dict[str, Any], kinds: dict[str, Any],
          name: str) -> dict[str, Any]:
    """Create the MLflow run of a Kedro run and put its state into the environment.

    Args:
        root: the project folder, with the embedded store.
        config: ``mlflow.yml``; ``MLFLOW_TRACKING_URI`` replaces its store by a server.
        run_params: Kedro's description of the run.
        kinds: dataset name -> how to log it.
        name: name of the run.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / config['store']}"
    state = {"uri": uri, "experiment": config["experiment"], "kinds": kinds, "name": name}
    _quiet()
    tags = {
        "kedro.run_id": run_params["run_id"],
        "kedro.pipeline": "+".join(pipeline_names(run_params)),
        "kedro.env": run_params.get("env") or "local",
        "kedro.version": run_params["kedro_version"],
        "kedro.runner": _runner_name(run_params.get("runner")),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": _command(run_params),
        "mlflow.source.git.commit": commit(root),
        "git.dirty": str(is_dirty(root)),
    }
    if parent := os.environ.get("MLFLOW_PARENT_RUN_ID"):
        tags["mlflow.parentRunId"] = parent
    # Two runs that start at once would both create the tables of a new store.
    with lock_file(root / f"{config['store']}.lock"):
        api = client(state)
        state["experiment_id"] = _experiment(api, root, config, uri)
        state["run"] = api.create_run(state["experiment_id"], tags=tags, run_name=name).info.run_id
    os.environ[STATE_VARIABLE] = json.dumps(state)
    return state


def log_parameters(state: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Log parameters by their dotted paths."""
    from mlflow.entities import Param

    client(state).log_batch(state["run"], params=[Param(k, str(v)[:LONGEST_PARAMETER]) for k, v in parameters.items()])


def pipeline_names(run_params: dict[str, Any]) -> list[str]:
    """Return the names of the pipelines that were asked for."""
    return run_params.get("pipeline_names") or ["drsf"]


def _command(run_params: dict[str, Any]) -> str:
    """Return the command that started the run; from a notebook or a test, one that does the same."""
    if Path(sys.argv[0]).name in ("kedro", "dg_project"):
        return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return f"kedro run --pipelines={','.join(pipeline_names(run_params))}"


def monitor(state: dict[str, Any], interval: float) -> Any:
    """Start sampling CPU, memory and GPU use into the run every ``interval`` seconds."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # mlflow.set_tracking_uri would stay in the environment and capture the runs of other projects.
    thread = SystemMetricsMonitor(state["run"], sampling_interval=interval, tracking_uri=state["uri"])
    thread.start()
    return thread


def finish(state: dict[str, Any], status: str, seconds: float) -> None:
    """Close the run, and what is open of its children, as ``FINISHED``, ``FAILED`` or ``KILLED``."""
    from dg_project.hooks.mlflow import children

    api = client(state)
    api.set_terminated(state["run"], status)  # first: a stopped process may have little time left
    children.finish(state, status)
    api.log_metric(state["run"], "run/seconds", seconds)
    os.environ.pop(STATE_VARIABLE, None)


def _experiment(api: MlflowClient, root: Path, config: dict[str, Any], uri: str) -> str:
    found = api.get_experiment_by_name(config["experiment"])
    if found:
        return found.experiment_id
    embedded = not uri.startswith(("http://", "https://"))
    return api.create_experiment(
        config["experiment"],
        artifact_location=(root / config["artifacts"]).as_uri() if embedded else None,
        tags={"mlflow.experimentKind": "custom_model_development"},  # else the UI opens in its GenAI mode
    )


def _runner_name(runner: Any) -> str:
    match = re.search(r"(\w+)(?: object at|$)", str(runner))
    return match.group(1) if match else str(runner)


def _quiet() -> None:
    """Hide the log lines about database migrations and about the start of the monitor."""
    import logging

    import mlflow.system_metrics.system_metrics_monitor  # noqa: F401  # its import sets its own level

    for name in ("alembic", "mlflow.store.db.utils", "mlflow.system_metrics"):
        logging.getLogger(name).setLevel(logging.WARNING)
