"""Average precision per class and domain.

``mAP@50`` is Pascal VOC's (2010 and later): the area under the interpolated precision-recall curve at every recall
that occurs, IoU .5. ``mAP`` is COCO's: precision at 101 recall levels, mean over IoU .5, .55, ..., .95.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dg_project.errors import DataError
from dg_project.evaluation.matching import ClassMatches, match_domain
from dg_project.evaluation.predictions import check_predictions

ALL = "all"
"""Name of the row that holds the mean over the classes."""


@dataclass(frozen=True)
class Metric:
    """One way of scoring: the rule of matching, and the recall levels (None: every recall that occurs)."""

    rule: str
    levels: NDArray[np.float64] | None


METRICS: dict[str, Metric] = {"mAP@50": Metric("voc", None), "mAP": Metric("coco", np.linspace(0, 1, 101))}


def average_precision(matches: ClassMatches, levels: NDArray[np.float64] | None = None,
                      weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    r"""Return the average precision of one class, mean over the IoU thresholds.

    ``AP = sum_k (r_k - r_{k-1}) * max_{j >= k} p_j`` over all points k, or ``mean_l max_{j: r_j >= l} p_j`` over
    recall levels l.

    Args:
        matches: detections, best score first.
        levels: recall levels (L,), or None for all points.
        weights: (B, N) how often each of the N images counts in each of B resamples; None counts each once (B = 1).

    Returns:
        (B,) values in [0, 1]; NaN where there is no box to be found.
    """
    weights = np.ones((1, len(matches.positives))) if weights is None else weights
    total = weights @ matches.positives
    values = np.zeros(len(weights))
    for true, ignored in zip(matches.true, matches.ignored, strict=True):
        counts = weights[:, matches.image[~ignored]]
        hits, seen = np.cumsum(counts * true[~ignored], axis=1), np.cumsum(counts, axis=1)
        precision = hits / np.maximum(seen, np.finfo(float).tiny)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / np.maximum(total, 1)[:, None]
        if levels is None:
            values += (envelope * np.diff(recall, axis=1, prepend=0)).sum(axis=1)
        else:
            reached = np.array([np.searchsorted(row, levels) for row in recall])
            padded = np.pad(envelope, ((0, 0), (0, 1)))
            values += np.take_along_axis(padded, reached, axis=1).mean(axis=1)
    return np.where(total > 0, values / len(matches.true), np.nan)


def score_detections(predictions: pd.DataFrame, manifest: pd.DataFrame, classes: list[str],
                     metrics: tuple[str, ...] = ("mAP@50", "mAP")) -> pd.DataFrame:
    """Score one model on every domain of the manifest.

    Args:
        predictions: one row per image (``PREDICTION_COLUMNS``), of one model.
        manifest: the very images that were predicted, with their boxes.
        classes: names of labels 1..C.
        metrics: names in ``METRICS``.

    Returns:
        Columns ``domain, metric, class, value, n_images, n_boxes``: one row per class, and one named ``all`` with the
        mean over the classes that the domain has. A class without a box to be found has value NaN and is left out of
        that mean. Values lie in [0, 1]; ``n_boxes`` counts the boxes to be found.

    Raises:
        DataError: predictions and manifest do not name the same images, or the predictions are malformed.
    """
    check_same_images(check_predictions(predictions), manifest)
    rows = []
    found_in = dict(iter(predictions.groupby("domain")))
    for domain, truth in manifest.groupby("domain", sort=False):
        for metric in metrics:
            matched = match_domain(found_in[domain], truth, len(classes), METRICS[metric].rule)
            values = [float(average_precision(m, METRICS[metric].levels)[0]) for m in matched]
            boxes = [int(m.positives.sum()) for m in matched]
            rows += [(domain, metric, name, value, len(truth), n_boxes)
                     for name, value, n_boxes in zip(classes, values, boxes, strict=True)]
            rows.append((domain, metric, ALL, float(present_mean(np.array(values))), len(truth), sum(boxes)))
    return pd.DataFrame(rows, columns=["domain", "metric", "class", "value", "n_images", "n_boxes"])


def present_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis of the entries that are not NaN; NaN where there is none."""
    present = ~np.isnan(values)
    return np.where(present.any(axis=0), np.where(present, values, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1),
                    np.nan)


def check_same_images(predictions: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Raise ``DataError`` unless both tables name the same images of the same domains."""
    predicted = set(zip(predictions["domain"], predictions["image_id"], strict=True))
    expected = set(zip(manifest["domain"], manifest["image_id"], strict=True))
    for extra, problem in ((expected - predicted, "has no prediction"),
                           (predicted - expected, "is not in the manifest")):
        if extra:
            domain, image = sorted(extra)[0]
            raise DataError(f"image '{image}' of '{domain}' (and {len(extra) - 1} more) {problem}: score the very rows "
                            "that were predicted, or run `kedro run --pipeline=evaluation` again")


def per_class_table(scores: pd.DataFrame, metric: str = "mAP@50") -> pd.DataFrame:
    """Return a wide table: one row per domain, one column per class and one named ``all``."""
    rows = scores[scores["metric"] == metric]
    wide = rows.pivot(index="domain", columns="class", values="value")
    return wide.loc[list(dict.fromkeys(rows["domain"])), list(dict.fromkeys(rows["class"]))].rename_axis(columns=None)
