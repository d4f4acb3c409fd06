"""Log saved datasets as MLflow metrics and artifacts: ``metadata: {mlflow: KIND}`` in the catalog.

Kinds: ``metrics`` (nested mapping of numbers), ``scores`` (the same, of several models), ``history`` (table with a
``step`` column: curves), ``figure``, ``table``, ``json``, ``html``, ``markdown``, ``images`` (folder of images),
``folder`` (all its files), ``model`` (a trained model: its facts and its path), ``reference`` (only its path and
version, which are logged for all). A mapping gives options: ``mlflow: {kind: history, prefix: train, run: naive}``,
where ``run`` is the child run that gets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MOST_IMAGES = 8
_METRICS_PER_BATCH = 1000
_FROM_DISK = ("figure", "folder", "images", "model")
"""Kinds that are logged from their saved files, which is faster than writing them again."""
METHOD = "model"
"""Role of the method of a run; the others are the prefixes of the catalog: ``baseline``, ``naive``."""


def kinds(pipeline: Any, catalog: Any) -> dict[str, dict[str, Any]]:
    """Return dataset name -> ``{kind, prefix, ...}`` for the datasets of a pipeline with MLflow metadata."""
    found = {}
    for name in sorted(pipeline.all_outputs()):
        metadata = (getattr(catalog.get(name), "metadata", None) or {}) if name in catalog else {}
        if wish := metadata.get("mlflow"):
            found[name] = {"prefix": name, **(wish if isinstance(wish, dict) else {"kind": wish})}
            if found[name]["kind"] in _FROM_DISK:
                found[name]["saved"] = str(catalog.get(name)._get_save_path())
    return found


def log(state: dict[str, Any], name: str, data: Any) -> None:
    """Log one saved dataset if it has MLflow metadata, into the run of ``state`` or the child that it belongs to."""
    if wish := state["kinds"].get(name):
        from dg_project.hooks.mlflow import children, runs

        data = wish.get("saved", data)
        if wish["kind"] == "scores":
            _scores(state, data)
        elif wish["kind"] == "model":
            _model(state, name, Path(data), wish.get("run", METHOD))
        else:
            run = children.find(state, wish["run"]) if "run" in wish else None
            _LOGGERS[wish["kind"]](runs.client(state), run or state["run"], wish["prefix"], data)


def metric_name(name: str) -> str:
    """Return ``name`` in the alphabet of MLflow metrics: ``mAP@50`` is written ``mAP50``."""
    return name.replace("@", "")


def _metrics(client: Any, run: str, prefix: str, data: Any) -> None:
    from dg_project.core.nested import flatten

    numbers = {f"{prefix}/{path}".strip("/").replace(".", "/"): value for path, value in flatten(data).items()}
    log_numbers(client, run, numbers)


def log_numbers(client: Any, run: str, numbers: dict[str, Any]) -> None:
    """Log metrics without steps."""
    now = int(time.time() * 1000)
    _send(client, run, [(name, value, now, 0) for name, value in numbers.items()])


def log_history(client: Any, run: str, prefix: str, data: Any) -> None:
    """Log a table with a ``step`` column as curves ``<prefix>/<column>``."""
    now = int(time.time() * 1000)
    columns = [c for c in data.columns if c != "step" and data[c].dtype.kind in "fiub"]
    rows = data.dropna(how="all", subset=columns)
    _send(client, run, [(f"{prefix}/{column}", value, now + i, int(step))
                        for column in columns
                        for i, (step, value) in enumerate(rows[["step", column]].dropna().itertuples(index=False))])


def _scores(state: dict[str, Any], data: dict[str, Any]) -> None:
    """Log all scores to the parent run, and those of each model to its child run under equal names."""
    from dg_project.hooks.mlflow import children, runs

    client = runs.client(state)
    _metrics(client, state["run"], "", data)
    roles = {name: numbers for name, numbers in data.items() if children.find(state, name)}
    own = {name: numbers for name, numbers in data.items() if name not in roles}
    for role, numbers in [(METHOD, own), *roles.items()]:
        if run := children.find(state, role):
            _metrics(client, run, "", numbers)


def _model(state: dict[str, Any], name: str, folder: Path, role: str) -> None:
    """Log a trained model as MLflow's record of a model that is kept elsewhere: facts of the training, and its path."""
    from mlflow.entities import LoggedModelOutput

    from dg_project.hooks.mlflow import children, runs
    from dg_project.methods.model_folder import read_card

    client, run = runs.client(state), children.find(state, role) or state["run"]
    spec, meta = read_card(folder)
    facts: dict[str, Any] = {"task": spec.task, "method": spec.method, "backbone": spec.backbone.name}
    facts |= {key: meta[key] for key in ("seed", "step", "score", "max_steps", "selection") if key in meta}
    tags = {"path": str(folder), "mlflow.model.isExternal": "true"}
    model = client.create_logged_model(state["experiment_id"], f"{spec.method}-{spec.task}", run, tags,
                                       {key: str(value) for key, value in facts.items()})
    client.finalize_logged_model(model.model_id, "READY")
    for page in dict.fromkeys((run, state["run"])):
        client.log_outputs(page, [LoggedModelOutput(model.model_id, int(meta.get("step", 0)))])


def _send(client: Any, run: str, points: list[tuple[str, Any, int, int]]) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(metric_name(key), float(value), at, step) for key, value, at, step in points]
    for first in range(0, len(metrics), _METRICS_PER_BATCH):
        client.log_batch(run, metrics=metrics[first:first + _METRICS_PER_BATCH])


def _figure(client: Any, run: str, prefix: str, image: str) -> None:
    client.log_artifact(run, image, "figures")


def _table(client: Any, run: str, prefix: str, data: Any) -> None:
    client.log_text(run, data.to_csv(index=False), f"tables/{prefix}.csv")


def _json(client: Any, run: str, prefix: str, data: Any) -> None:
    client.log_dict(run, data, f"{prefix}.json")


def _html(client: Any, run: str, prefix: str, data: Any) -> None:
    client.log_text(run, data, f"{prefix}.html")


def _markdown(client: Any, run: str, prefix: str, data: Any) -> None:
    client.log_text(run, data, f"{prefix}.md")


def _folder(client: Any, run: str, prefix: str, folder: str) -> None:
    client.log_artifacts(run, folder, prefix)


def _images(client: Any, run: str, prefix: str, folder: str) -> None:
    """Log images spread evenly over the folder."""
    from dg_project.data.images import IMAGE_SUFFIXES, open_rgb

    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    stride = max(1, len(paths) // _MOST_IMAGES)
    for index, path in enumerate(paths[::stride][:_MOST_IMAGES]):
        client.log_image(run, open_rgb(path), key=prefix, step=index)


_LOGGERS: dict[str, Callable[[Any, str, str, Any], None]] = {
    "metrics": _metrics, "history": log_history, "figure": _figure, "table": _table, "json": _json, "html": _html,
    "markdown": _markdown, "folder": _folder, "images": _images, "reference": lambda *_: None,
}
