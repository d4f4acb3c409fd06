"""MLflow tracking: one MLflow run per Kedro run, for every runner.

Nodes never call MLflow. The catalog says what is logged, ``metadata: {mlflow: KIND}`` (see
:mod:`dg_project.hooks.mlflow.artifacts`); parameters, versions and commit are logged always.
"""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from dg_project.hooks.mlflow.stopping import OnStop
from dg_project.hooks.summary import RESULT

if TYPE_CHECKING:
    from dg_project.config import Settings
    from dg_project.hooks.mlflow.live import LiveCurves

logger = logging.getLogger(__name__)


class TrackingHook:
    """Starts the MLflow run, logs datasets when they are saved, and closes the run as finished, failed or killed."""

    def __init__(self) -> None:
        self._config: dict[str, Any] = {"enabled": False}
        self._root = Path()
        self._loader: Any = None
        self._monitor: Any = None
        self._started = 0.0
        self._on_stop: OnStop | None = None
        self._live: LiveCurves | None = None

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Read ``conf/**/mlflow.yml``."""
        from kedro.config import MissingConfigException

        self._root = Path(context.project_path)
        self._loader = context.config_loader
        try:
            self._config = dict(context.config_loader["mlflow"])
        except MissingConfigException:
            self._config = {"enabled": False}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Open the MLflow run; log parameters, commit, pipeline and catalog."""
        if not self._config.get("enabled", True):
            return
        from dg_project.hooks.mlflow import artifacts, parameters, runs

        settings = catalog.load("params:settings")
        name = _run_name(pipeline, settings, run_params)
        kinds = artifacts.kinds(pipeline, catalog)
        self._started = time.time()
        self._on_stop = OnStop(self._kill)
        try:
            with self._on_stop.held():
                state = runs.start(self._root, self._config, run_params, kinds, name)
        except Exception:
            self._on_stop.forget()
            raise
        runs.log_parameters(state, parameters.used_parameters(pipeline, settings, catalog.load("parameters")))
        client = runs.client(state)
        client.log_dict(state["run"], catalog.to_config()[0], "kedro/catalog.json")
        client.log_text(state["run"], pipeline.to_json(), "kedro/pipeline.json")
        if self._config.get("system_metrics", False):
            self._monitor = runs.monitor(state, self._config.get("system_metrics_interval", 10))
        logger.info("MLflow run '%s' of experiment '%s': see it with `make mlflow`", state["name"], state["experiment"])

    @hook_impl
    def before_node_run(self, node: Any, catalog: Any) -> None:
        """Open the child run of a training, which gets its curves while it runs."""
        from dg_project.hooks.mlflow import runs

        state = runs.current()
        for name in node.outputs if state else []:
            wish = state["kinds"].get(name, {}) if state else {}
            if state and wish.get("kind") == "history" and "run" in wish:
                self._live = _listen(state, wish, node, catalog)

    @hook_impl
    def after_node_run(self) -> None:
        """Stop listening to a training; Kedro saves its outputs after this."""
        self._stop_listening()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log the dataset by its metadata; worker processes find the run through the environment."""
        from dg_project.hooks.mlflow import runs

        if state := runs.current():
            from dg_project.hooks.mlflow import artifacts

            if self._live and state["kinds"].get(dataset_name, {}).get("kind") == "history":
                self._live.finish(data)
                runs.client(state).set_terminated(self._live.run, "FINISHED")
                self._live = None
            else:
                artifacts.log(state, dataset_name, data)

    @hook_impl
    def after_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Write what the run found into its description, and close it."""
        from dg_project.hooks.mlflow import runs

        if (state := runs.current()) and pipeline.all_outputs() >= RESULT:
            from dg_project.hooks.mlflow.note import Finding, log_finding

            finding = Finding(catalog.load("intervals"), catalog.load("gains"))
            log_finding(runs.client(state), state["run"], state["name"], finding)
        self._finish("FINISHED", pipeline, catalog)

    @hook_impl
    def on_pipeline_error(self, error: Exception, pipeline: Any, catalog: Any) -> None:
        """Close the run as failed, with the traceback as an artifact."""
        from dg_project.hooks.mlflow import runs

        if state := runs.current():
            text = "".join(traceback.format_exception(error))
            runs.client(state).log_text(state["run"], text, "kedro/error.txt")
        self._finish("FAILED", pipeline, catalog)

    def _finish(self, status: str, pipeline: Any, catalog: Any) -> None:
        from dg_project.hooks.mlflow import lineage, runs

        self._stop_listening()
        self._live = None
        state = runs.current()
        if not state:
            return
        lineage.log_versions(state, pipeline, catalog)
        if self._monitor:
            self._monitor.finish()
            self._monitor = None
        runs.finish(state, status, seconds=time.time() - self._started)
        if self._on_stop:
            self._on_stop.forget()
            self._on_stop = None

    def _kill(self) -> None:
        from dg_project.hooks.mlflow import runs

        if state := runs.current():
            runs.finish(state, "KILLED", seconds=time.time() - self._started)

    def _stop_listening(self) -> None:
        if self._live:
            from dg_project.training.loop import LISTENERS

            LISTENERS[:] = [listener for listener in LISTENERS if listener != self._live.note]


def _run_name(pipeline: Any, settings: Settings, run_params: dict[str, Any]) -> str:
    """Return ``drsf detection s0 300`` for a run that trains a model, else its pipelines and version."""
    from dg_project.hooks.mlflow.runs import pipeline_names
    from dg_project.pipelines.trainings import trainings

    planned = trainings(pipeline.only_nodes_with_outputs("history"), settings) \
        if "history" in pipeline.all_outputs() else []
    if planned:
        return f"{planned[-1].method} {settings.task} s{settings.seed} {settings.training.max_steps}"
    return f"{'+'.join(pipeline_names(run_params))} {run_params['run_id']}"


def _listen(state: dict[str, Any], wish: dict[str, Any], node: Any, catalog: Any) -> LiveCurves | None:
    """Start the child run of a node that trains, and send it the curves; None for a node that trains nothing."""
    from kedro.pipeline import Pipeline

    from dg_project.hooks.mlflow import children, runs
    from dg_project.hooks.mlflow.live import LiveCurves
    from dg_project.pipelines.trainings import trainings
    from dg_project.training.loop import LISTENERS

    planned = trainings(Pipeline([node]), catalog.load("params:settings"))
    if not planned:
        return None
    live = LiveCurves(runs.client(state), children.start(state, wish["run"], planned[0]), wish["prefix"])
    LISTENERS.append(live.note)
    return live
