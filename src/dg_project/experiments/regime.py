"""Measures of pseudo images, none of which opens a target image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dg_project.config import GateCalibrationParams, Settings
from dg_project.config.paths import locate
from dg_project.core.device import resolve_device
from dg_project.core.errors import DataError
from dg_project.data.images import IMAGE_SUFFIXES, load_image, to_float
from dg_project.evaluation.features import domain_shift
from dg_project.experiments import gate_calibration
from dg_project.experiments.scoring import open_model, predict_once, rows_of
from dg_project.tasks.base import TaskModel

logger = logging.getLogger(__name__)

REFERENCE_IMAGES = 160
"""Most images of each kind whose features are compared."""


def measured(model: Path, source: pd.DataFrame, pseudo: pd.DataFrame, pseudo_root: Path,
             settings: Settings) -> dict[str, Any]:
    """Measure pseudo images without any target image.

    Args:
        model: folder of a model trained on the source alone.
        source: manifest of the source.
        pseudo: pseudo manifest.
        pseudo_root: folder of its relative paths.
        settings: all parameters.

    Returns:
        ``kept``: share of the images that the gate keeps. ``recognised``: share of the objects that the model finds in
        the pseudo image, among those that it finds in the source image. ``distance``: squared maximum mean discrepancy
        to the images of ``regime.reference`` in the model's features. NaN where the task or the parameters have none.
    """
    kept = pseudo[pseudo["kept"]].reset_index(drop=True)
    return {"kept": float(pseudo["kept"].mean()),
            "recognised": _recognised(model, source, kept, pseudo_root, settings),
            "distance": _distance(model, kept, pseudo_root, settings)}


def _recognised(model: Path, source: pd.DataFrame, pseudo: pd.DataFrame, pseudo_root: Path,
                settings: Settings) -> float:
    if pseudo.empty or settings.task == "segmentation":
        return float("nan")
    if settings.task == "classification":
        return _right_again(model, source, pseudo, pseudo_root, settings)
    try:
        boxes = gate_calibration.boxes_found_again(model, source, pseudo, pseudo_root, settings,
                                                   GateCalibrationParams())
    except DataError as error:
        logger.warning("quality: %s", error)
        return float("nan")
    return float(boxes["found"].mean())


def _right_again(model: Path, source: pd.DataFrame, pseudo: pd.DataFrame, pseudo_root: Path,
                 settings: Settings) -> float:
    """Return the share of objects classified right, among those classified right in the source image."""
    before = _right(model, source[source["image_id"].isin(pseudo["source_image_id"])].reset_index(drop=True),
                    Path(settings.data.root), settings, "image_id")
    after = _right(model, pseudo, pseudo_root, settings, "source_image_id")
    pairs = after.merge(before, on=["of", "box"], suffixes=("", "_before"))
    known = pairs[pairs["right_before"]]
    return float(known["right"].mean()) if len(known) else float("nan")


def _right(model: Path, images: pd.DataFrame, root: Path, settings: Settings, of: str) -> pd.DataFrame:
    """Return ``of`` (source image), ``box`` (its corners) and whether its object is classified ``right``."""
    rows = rows_of(model, images)
    found = predict_once(model, images, root, settings, Path(settings.workspace))
    right = [int(np.argmax(row)) + 1 == int(labels[0])
             for row, labels in zip(found["probabilities"], rows["labels"], strict=True)]
    boxes = [tuple(np.round(np.asarray(boxes[0], float), 1)) for boxes in rows["boxes"]]
    return pd.DataFrame({"of": rows[of].astype(str), "box": boxes, "right": right})


def _distance(model: Path, pseudo: pd.DataFrame, pseudo_root: Path, settings: Settings) -> float:
    reference = reference_images(settings.regime.reference or [])
    if len(reference) < 2 or len(pseudo) < 2:
        return float("nan")
    shown = [pseudo_root / pseudo["image"].iloc[k] for k in _spread(len(pseudo))]
    features = [_features(model, paths, settings) for paths in (reference, shown)]
    names = ["reference"] * len(reference) + ["pseudo"] * len(shown)
    return float(domain_shift(np.concatenate(features), names, "reference")["mmd2"].iloc[0])


def _features(model: Path, paths: Sequence[Path], settings: Settings) -> NDArray[np.float64]:
    opened, device = open_model(model, settings.training.device, settings.ldm), resolve_device(settings.training.device)
    images = (to_float(load_image(path)).to(device) for path in paths)
    return last_stage(opened.model, images, settings.evaluation.batch_size)


@torch.inference_mode()
def last_stage(model: TaskModel, images: Iterable[Tensor], batch_size: int) -> NDArray[np.float64]:
    """Return the last stage of every image (3, H, W), mean over its positions: (N, C)."""
    rest, pooled = iter(images), []
    while batch := list(islice(rest, batch_size)):
        pooled.append(model.features(model.prepare(batch).images)[model.backbone.last].mean((2, 3)))
    return torch.cat(pooled).double().cpu().numpy()


def reference_images(patterns: Sequence[str]) -> list[Path]:
    """Return the images that glob patterns name, spread over all of them.

    Raises:
        DataError: a pattern names no file.
    """
    found: list[Path] = []
    for pattern in patterns:
        paths = sorted(path for path in locate(".").glob(pattern) if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise DataError(f"regime.reference: '{pattern}' names no image in the project folder; give patterns such "
                            "as data/01_raw/night/*.jpg, or null")
        found += paths
    return [found[k] for k in _spread(len(found))]


def _spread(n: int) -> list[int]:
    """Return at most ``REFERENCE_IMAGES`` indices, evenly spread over ``range(n)``."""
    return sorted(set(np.linspace(0, n - 1, min(n, REFERENCE_IMAGES)).round().astype(int).tolist()))
