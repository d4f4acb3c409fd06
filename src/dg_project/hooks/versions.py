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
        from kedro.io import Version

        if run_params.get("only_missing_outputs"):  # these runs look for what earlier runs wrote
            return
        for name in pipeline.all_outputs():
            dataset = catalog.get(name)
            version = getattr(dataset, "_version", None)
            if version and version.save and not version.load:
                dataset._version = Version(version.save, version.save)


class RunIdHook:
    """Offers the run's id (the version of all it saves) to nodes as ``params:run_id``."""

    @hook_impl
    def after_catalog_created(self, catalog: Any, save_version: str | None) -> None:
        """Add the parameter; outside a run (a notebook, Kedro-Viz) there is no version."""
        catalog["params:run_id"] = save_version or "none"
