"""MLflow tracking: one MLflow run per Kedro run, for every runner.

Nodes never call MLflow. The catalog says what is logged, ``metadata: {mlflow: KIND}`` (see
:mod:`dg_project.hooks.mlflow.artifacts`); parameters, versions, commit and system metrics are logged always.
"""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.hooks.mlflow.stopping import OnStop

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
        from dg_project.hooks.mlflow import artifacts, runs

        state = runs.start(self._root, self._config, run_params, artifacts.kinds(pipeline, catalog))
        runs.log_parameters(state, self._loader["parameters"], run_params)
        client = runs.client(state)
        client.log_dict(state["run"], catalog.to_config()[0], "kedro/catalog.json")
        client.log_text(state["run"], pipeline.to_json(), "kedro/pipeline.json")
        if self._config.get("system_metrics", True):
            self._monitor = runs.monitor(state, self._config.get("system_metrics_interval", 10))
        self._started = time.time()
        self._on_stop = OnStop(self._kill)
        logger.info("MLflow run '%s' of experiment '%s': see it with `make mlflow`", state["name"], state["experiment"])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log the dataset by its metadata; worker processes find the run through the environment."""
        from dg_project.hooks.mlflow import runs

        if state := runs.current():
            from dg_project.hooks.mlflow import artifacts

            artifacts.log(state, dataset_name, data)

    @hook_impl
    def after_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Close the run."""
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
