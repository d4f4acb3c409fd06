"""One run, one version: what a run writes it also reads, and rows of results can name it."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl


class PinRunVersionsHook:
    """What a run writes, the same run reads back.

    A versioned dataset loads the newest version on disk; in worker processes that may be the one of another run.
    """

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Set the load version of everything that this run writes to its save version."""
        if not run_params.get("only_missing_outputs"):  # these runs look for what earlier runs wrote
            pin_written(pipeline, catalog)


def pin_written(pipeline: Any, catalog: Any) -> None:
    """Set the load version of everything that the pipeline writes to its save version."""
    for name in pipeline.all_outputs():
        version = getattr(catalog.get(name), "_version", None)
        if version and version.save and not version.load:
            _pin(catalog.get(name), version.save)


def pin_read(pipeline: Any, catalog: Any) -> None:
    """Set the load version of everything that the pipeline reads, and does not write, to the newest one of now."""
    for name in pipeline.inputs():
        version = getattr(catalog.get(name), "_version", None)
        if version and not version.load:
            _pin(catalog.get(name), catalog.get(name).resolve_load_version())


def _pin(dataset: Any, load: str) -> None:
    from kedro.io import Version

    dataset._version = Version(load, dataset._version.save)


class RunIdHook:
    """Offers the run's id (the version of all it saves) to nodes as ``params:run_id``."""

    @hook_impl
    def after_catalog_created(self, catalog: Any, save_version: str | None) -> None:
        """Add the parameter; outside a run (a notebook, Kedro-Viz) there is no version."""
        catalog["params:run_id"] = save_version or "none"
