"""Log the version of every dataset that a run reads or writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_LONGEST_DIGEST = 36  # MLflow's limit; a Kedro version has 24 characters


def log_versions(state: dict[str, Any], pipeline: Any, catalog: Any) -> None:
    """Log ``kedro/versions.json`` and make each versioned dataset an input of the MLflow run."""
    from dg_project.hooks.mlflow import runs

    found = versions(pipeline, catalog)
    api = runs.client(state)
    api.log_dict(state["run"], found, "kedro/versions.json")
    written = pipeline.all_outputs()
    api.log_inputs(state["run"], datasets=[
        _dataset_input(name, place, "output" if name in written else "input") for name, place in found.items()
    ])


def versions(pipeline: Any, catalog: Any) -> dict[str, dict[str, str]]:
    """Return name -> version and path of every versioned dataset of the pipeline that exists on disk."""
    from kedro.io import DatasetError

    found = {}
    for name in sorted(pipeline.datasets()):
        dataset: Any = catalog.get(name) if name in catalog else None
        if not getattr(dataset, "_version", None):
            continue
        try:
            if dataset.exists():
                found[name] = {"version": dataset.resolve_load_version(), "path": str(dataset._get_load_path())}
        except DatasetError:  # a failed run did not write it
            continue
    return found


def _dataset_input(name: str, place: dict[str, str], context: str) -> Any:
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    source = resolve_dataset_source(Path(place["path"]).absolute().as_uri())
    dataset = MetaDataset(source, name=name, digest=place["version"][-_LONGEST_DIGEST:])
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", context)])
