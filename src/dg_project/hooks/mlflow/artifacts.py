"""Log saved datasets as MLflow metrics and artifacts: ``metadata: {mlflow: KIND}`` in the catalog.

Kinds: ``metrics`` (nested mapping of numbers), ``history`` (table with a ``step`` column: curves), ``figure``,
``table``, ``json``, ``html``, ``markdown``, ``images`` (folder of images), ``folder`` (all its files), ``reference``
(only its path and version, which are logged for all). A mapping gives options:
``mlflow: {kind: history, prefix: train}``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MOST_IMAGES = 8
_METRICS_PER_BATCH = 1000
_FROM_DISK = ("figure", "folder", "images")
"""Kinds that are logged from their saved files, which is faster than writing them again."""


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
    """Log one saved dataset into the run of ``state`` if it has MLflow metadata."""
    if wish := state["kinds"].get(name):
        from dg_project.hooks.mlflow import runs

        _LOGGERS[wish["kind"]](runs.client(state), state["run"], wish["prefix"], wish.get("saved", data))


def metric_name(name: str) -> str:
    """Return ``name`` in the alphabet of MLflow metrics: ``mAP@50`` is written ``mAP50``."""
    return name.replace("@", "")


def _metrics(client: Any, run: str, prefix: str, data: Any) -> None:
    from dg_project.core.nested import flatten

    now = int(time.time() * 1000)
    _send(client, run, [(f"{prefix}/{path.replace('.', '/')}" if prefix else path.replace(".", "/"), value, now, 0)
                        for path, value in flatten(data).items()])


def _history(client: Any, run: str, prefix: str, data: Any) -> None:
    now = int(time.time() * 1000)
    columns = [c for c in data.columns if c != "step" and data[c].dtype.kind in "fiub"]
    rows = data.dropna(how="all", subset=columns)
    _send(client, run, [(f"{prefix}/{column}", value, now + i, int(step))
                        for column in columns
                        for i, (step, value) in enumerate(rows[["step", column]].dropna().itertuples(index=False))])


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
    "metrics": _metrics, "history": _history, "figure": _figure, "table": _table, "json": _json, "html": _html,
    "markdown": _markdown, "folder": _folder, "images": _images, "reference": lambda *_: None,
}
