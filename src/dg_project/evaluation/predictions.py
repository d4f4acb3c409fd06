"""Run a model over a manifest, and read the rows of prediction tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dg_project.core.errors import DataError
from dg_project.data.dataset import ManifestDataset, chunks
from dg_project.data.drawing import spread_rows
from dg_project.data.manifest import select
from dg_project.evaluation.scorer import Scorer

Predict = Callable[[list[Tensor]], list[dict[str, Tensor]]]
"""Images (3, H, W) in [0, 1] -> one prediction per image, in pixels of that image."""


def scored_rows(source: pd.DataFrame, target: pd.DataFrame, max_images: int | None = None) -> pd.DataFrame:
    """Return the test rows of the source, then of every target; at most ``max_images`` of each domain.

    Raises:
        DataError: a domain has no test image.
    """
    rows = pd.concat([select(source, split="test"), select(target, split="test")], ignore_index=True)
    for domain in [*source["domain"].unique(), *target["domain"].unique()]:
        if domain not in set(rows["domain"]):
            raise DataError(f"domain '{domain}' has no test image; name its test split under data.splits.test")
    drawn = [spread_rows(own, max_images) for _, own in rows.groupby("domain", sort=False)]
    return rows if max_images is None else pd.concat(drawn, ignore_index=True)


def predict_manifest(predict: Predict, scorer: Scorer, manifest: pd.DataFrame, root: Path, *, batch_size: int = 4,
                     device: str | torch.device = "cpu", name: str = "model") -> pd.DataFrame:
    """Return one row of predictions per image of the manifest, in its order.

    Args:
        predict: the model; called with images in [0, 1] on ``device``.
        scorer: scorer of the task; packs the predictions.
        manifest: images or crops to predict.
        root: folder that the manifest's paths are relative to.
        batch_size: images per call of ``predict``.
        device: device of the model.
        name: label of the progress bar.

    Returns:
        Columns ``domain, image_id`` and ``scorer.columns``; plain values that parquet can store.
    """
    dataset = ManifestDataset(manifest, root, cache=False)
    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        for chunk in chunks(dataset, batch_size, device, f"predict ({name})"):
            for i, found in zip(chunk.rows, predict(chunk.images), strict=True):
                rows.append({"domain": dataset.domains[i], "image_id": dataset.image_ids[i]} | scorer.pack(found))
    return pd.DataFrame(rows, columns=["domain", "image_id", *scorer.columns])


def as_boxes(value: Any) -> NDArray[np.float64]:
    """Return boxes (n, 4) from lists, arrays, or the nested object arrays that parquet returns."""
    return np.asarray([list(box) for box in value], dtype=np.float64).reshape(-1, 4)


def as_vector(value: Any, dtype: type = np.float64) -> NDArray[Any]:
    """Return a vector (n,) from a list or array."""
    return np.asarray(list(value), dtype=dtype).reshape(-1)


def rows_by_image(truth: pd.DataFrame, found: pd.DataFrame) -> Iterator[tuple[Any, Any]]:
    """Yield (label row, prediction row) of each image of one domain, sorted by image id."""
    predicted = {str(row.image_id): row for row in found.itertuples()}
    for row in sorted(truth.itertuples(), key=lambda row: str(row.image_id)):
        yield row, predicted[str(row.image_id)]


def by_method(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a table of several models (column ``method``) into one table per method, in order of appearance."""
    return {str(name): rows.drop(columns="method").reset_index(drop=True)
            for name, rows in predictions.groupby("method", sort=False)}
