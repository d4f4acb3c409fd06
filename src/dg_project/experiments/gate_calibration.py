"""Calibrate the label-fidelity gate: down to which visibility does a model trained on the source still find objects?

Such a model misses objects for two reasons: they are no longer there, or they look too different from the source. Only
the first is the gate's business, and the second is what training on pseudo images is for. Therefore the shares that the
model finds are compared with the share that it finds of the most visible objects, and only objects that it hardly ever
finds count as lost. Source images and pseudo images made from them are used, no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from dg_project.config import GateCalibrationParams, Settings
from dg_project.core.errors import DataError, ParameterError
from dg_project.evaluation.matching import VOC_IOU, overlap, xywh
from dg_project.evaluation.predictions import as_boxes, as_vector
from dg_project.experiments.scoring import predict_once
from dg_project.methods.model_folder import read_card

TASKS = ("detection", "instance_segmentation")
FEWEST_BOXES = 30
"""Boxes below which no threshold is chosen."""
MOST_VISIBLE = 0.2
"""Share of the boxes, those with the highest visibility, that the others are compared with."""


def check_task(task: str) -> None:
    """Check that the task finds boxes.

    Raises:
        ParameterError: it does not.
    """
    if task not in TASKS:
        raise ParameterError(f"the gate is calibrated with a detector, but the task is '{task}': run "
                             "`kedro run --pipeline=calibrate_gate --params task=detection`, and use its "
                             "sampling.gate.min_visibility")


def boxes_found_again(model: Path, source: pd.DataFrame, pseudo: pd.DataFrame, pseudo_root: Path, settings: Settings,
                      params: GateCalibrationParams) -> pd.DataFrame:
    """Look for the objects of source images in the pseudo images made of them.

    Args:
        model: folder of a model trained on the source alone.
        source: manifest of the source.
        pseudo: pseudo manifest, with the visibility of every box.
        pseudo_root: folder of its relative paths.
        settings: all parameters.
        params: least score of a detection.

    Returns:
        One row per box of a pseudo image that the model finds in the source image: ``domain, image, source_image, box,
        label, visibility`` and ``found``, whether the model finds it in the pseudo image too.
    """
    originals = source[source["image_id"].astype(str).isin(set(pseudo["source_image_id"].astype(str)))]
    root, workspace = Path(settings.data.root), Path(settings.workspace)
    in_source = _found(model, originals.reset_index(drop=True), root, settings, workspace, params.score_threshold)
    in_pseudo = _found(model, pseudo.reset_index(drop=True), pseudo_root, settings, workspace, params.score_threshold)
    before = {str(row["image_id"]): (row["image"], found) for row, found in in_source}
    rows: list[dict[str, Any]] = []
    for row, found in in_pseudo:
        image, known = before[str(row["source_image_id"])]
        seen = as_vector(row["visibility"])
        for k in np.flatnonzero(known & ~as_vector(row["difficult"], bool)):
            rows.append({"domain": row["domain"], "image": row["image"], "source_image": image,
                         "box": as_boxes(row["boxes"])[k].tolist(), "label": int(row["labels"][k]),
                         "visibility": float(seen[k]), "found": bool(found[k])})
    if len(rows) < FEWEST_BOXES:
        raise DataError(f"the model finds {len(rows)} labelled boxes in the source images of the pseudo domains, too "
                        "few to calibrate the gate: train longer (training.max_steps) or start from more images "
                        "(synthesis.n_images)")
    return pd.DataFrame(rows)


def _found(model: Path, images: pd.DataFrame, root: Path, settings: Settings, workspace: Path,
           least_score: float) -> Iterator[tuple[dict[str, Any], NDArray[np.bool_]]]:
    """Yield every row of a manifest, and which of its boxes the model finds."""
    check_task(read_card(model)[0].task)
    found = predict_once(model, images, root, settings, workspace)
    for row, predicted in zip(images.to_dict("records"), found.to_dict("records"), strict=True):
        yield {str(key): value for key, value in row.items()}, boxes_found(row, predicted, least_score)


def boxes_found(truth: Any, predicted: Any, least_score: float) -> NDArray[np.bool_]:
    """Return (n,): whether a detection of the same class overlaps each labelled box with an IoU of at least 0.5.

    Args:
        truth: row with ``boxes`` (n, 4) and ``labels`` (n,).
        predicted: row with ``boxes``, ``labels`` and ``scores``.
        least_score: detections with lower scores do not count.
    """
    boxes, labels = as_boxes(truth["boxes"]), as_vector(truth["labels"], int)
    sure = as_vector(predicted["scores"]) >= least_score
    found, found_labels = as_boxes(predicted["boxes"])[sure], as_vector(predicted["labels"], int)[sure]
    if not len(boxes) or not len(found):
        return np.zeros(len(boxes), bool)
    hit = (overlap(xywh(found), xywh(boxes)) >= VOC_IOU) & (found_labels[:, None] == labels)
    return np.asarray(hit.any(0))


def fitted_share(boxes: pd.DataFrame) -> pd.DataFrame:
    """Return ``visibility`` in steps of 0.01, and the ``share`` of boxes found there by isotonic regression.

    The regression assumes only that the share never falls with the visibility.
    """
    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(boxes["visibility"], boxes["found"])
    at = np.round(np.arange(-1, 1.001, 0.01), 2)
    return pd.DataFrame({"visibility": at, "share": fit.predict(at)})


def choose_visibility(boxes: pd.DataFrame, share: float) -> dict[str, Any]:
    """Return the least visibility at which the model finds at least ``share`` of what it finds of the most visible.

    Args:
        boxes: from ``boxes_found_again``.
        share: demanded share, 0 to 1.

    Returns:
        ``min_visibility``, rounded to 0.01 (1.0 if no visibility is enough), the number of boxes, and the shares of
        boxes found: of the most visible ones, demanded, below ``min_visibility``, and from there on.
    """
    curve, found = fitted_share(boxes), boxes["found"].to_numpy(bool)
    best = float(found[boxes["visibility"] >= boxes["visibility"].quantile(1 - MOST_VISIBLE)].mean())
    enough = curve.loc[(curve["share"] >= share * best) & (best > 0), "visibility"].tolist()
    least = float(min(enough, default=1.0))
    above = boxes["visibility"].to_numpy(float) >= least

    def mean(rows: NDArray[np.bool_]) -> float | None:
        return float(found[rows].mean()) if rows.any() else None

    return {"min_visibility": least, "boxes": len(boxes), "boxes_below": int((~above).sum()), "found_best": best,
            "found_demanded": share * best, "found_below": mean(~above), "found_above": mean(above)}
