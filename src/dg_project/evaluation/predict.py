"""Run a model over the images of a manifest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dg_project.domains.loading import load_image
from dg_project.domains.manifest import image_path, select
from dg_project.errors import DataError
from dg_project.evaluation.predictions import PREDICTION_COLUMNS

log = logging.getLogger(__name__)

Predict = Callable[[list[Tensor]], list[dict[str, Tensor]]]
"""Images (3, H, W) in [0, 1] -> one dict per image with ``boxes`` (n, 4), ``labels`` (n,) and ``scores`` (n,)."""


def scored_rows(source: pd.DataFrame, target: pd.DataFrame, max_images: int | None = None) -> pd.DataFrame:
    """Return the test rows of the source, then of every target domain; at most the first ``max_images`` of each.

    Raises:
        DataError: a domain has no test image.
    """
    rows = pd.concat([select(source, split="test"), select(target, split="test")], ignore_index=True)
    for domain in [*source["domain"].unique(), *target["domain"].unique()]:
        if domain not in set(rows["domain"]):
            raise DataError(f"domain '{domain}' has no test image; name its test split under data.splits.test")
    return rows if max_images is None else rows.groupby("domain", sort=False).head(max_images).reset_index(drop=True)


def predict_manifest(predict: Predict, manifest: pd.DataFrame, root: Path, *, batch_size: int = 4,
                     device: str | torch.device = "cpu", name: str = "model") -> pd.DataFrame:
    """Return one row of detections per image of the manifest, in its order.

    Args:
        predict: the model; it gets images in [0, 1] on ``device`` and answers in absolute pixels of those images.
        manifest: images to open; images without a detection keep their row, with empty lists.
        root: folder that the manifest's paths start from.
        batch_size: images given to ``predict`` at a time.
        device: where the model is.
        name: shown at the progress bar.

    Returns:
        Columns ``domain, image_id, boxes, labels, scores`` (see ``PREDICTION_COLUMNS``); plain lists, so parquet keeps
        them.
    """
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(manifest), desc=f"predict ({name})", unit="image", leave=False) as bar, torch.inference_mode():
        for start in range(0, len(manifest), batch_size):
            batch = list(manifest.iloc[start:start + batch_size].itertuples())
            images = [load_image(image_path(root, row)).to(device).float() / 255 for row in batch]
            for row, found in zip(batch, predict(images), strict=True):
                rows.append({"domain": row.domain, "image_id": row.image_id}
                            | {key: found[key].detach().cpu().tolist() for key in ("boxes", "labels", "scores")})
            bar.update(len(batch))
    log.info("%s: %d detections in %d images", name, sum(len(row["scores"]) for row in rows), len(rows))
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))
