"""One run, one version: what a run writes it also reads, and rows of results can name it."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.core.errors import CheckpointError


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


_PIPELINES = ("predict", "export")


class ChosenModelHook:
    """Lets pipelines that use a trained model, and make none, load it from a folder that is in no catalog."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Point ``model`` to the folder that the parameters of the pipeline name.

        Raises:
            CheckpointError: the folder holds no trained model.
        """
        inputs = pipeline.inputs()
        for name in _PIPELINES:
            if f"params:{name}" in inputs and "model" in inputs:
                chosen = catalog.load(f"params:{name}").model
                if chosen is not None:
                    catalog["model"] = _dataset(f"{name}.model", chosen)


def _dataset(parameter: str, chosen: str) -> Any:
    """Return the dataset of a model folder, or of the newest version in a folder of versions."""
    from kedro.io import Version

    from dg_project.datasets.model import ModelDataset
    from dg_project.pipelines.paths import locate

    folder = locate(chosen)
    plain = (folder / "model.json").is_file()
    dataset = ModelDataset(filepath=folder, version=None if plain else Version(None, None))
    if not plain and not dataset.exists():
        raise CheckpointError(f"{parameter}: '{folder}' holds no trained model; give a folder with 'model.json' and "
                              "'model.safetensors', or one that the catalog keeps versions in (data/06_models/model)")
    return dataset
