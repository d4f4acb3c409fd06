"""``predict.model`` and ``export.model``: another trained model takes the place of the catalog's newest one."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.errors import CheckpointError

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
