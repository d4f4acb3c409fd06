"""Score detection and instance segmentation: average precision per class and domain.

``mAP@50`` follows Pascal VOC (2010 and later): area under the interpolated precision-recall curve over all recall
values, IoU .5. ``mAP`` follows COCO: precision at 101 recall levels, mean over IoU .5, .55, ..., .95.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from dg_project.data.dataset import load_part
from dg_project.evaluation.matching import ClassMatches, Matchable, match_images, xywh
from dg_project.evaluation.outcomes import detection_confusion
from dg_project.evaluation.predictions import as_boxes, as_vector, rows_by_image
from dg_project.evaluation.scorer import Comparison, Errors, Scorer, Values, present_mean

BOX_COLUMNS = {
    "boxes": "list of [x0, y0, x1, y1], absolute pixels of the image file",
    "labels": "list of int, 1-based index into the class list",
    "scores": "list of float, 0 to 1, same order as the boxes",
}


@dataclass(frozen=True)
class Precision:
    """A metric: matching rule (``voc`` or ``coco``) and recall levels (None for all recall values)."""

    rule: str
    levels: NDArray[np.float64] | None


RECALL_LEVELS = np.linspace(0, 1, 101)
METRICS: dict[str, Precision] = {"mAP@50": Precision("voc", None), "mAP": Precision("coco", RECALL_LEVELS)}


@dataclass(frozen=True)
class Matches:
    """Matched detections of one domain, by class."""

    classes: list[ClassMatches]
    levels: NDArray[np.float64] | None

    @property
    def labels(self) -> NDArray[np.int64]:
        """(C,) number of labelled objects per class, difficult ones excluded."""
        return np.array([matched.positives.sum() for matched in self.classes])

    def values(self, weights: NDArray[np.float64]) -> Values:
        """Return average precisions (C, B), and their mean (B,) over the classes present."""
        per_class = np.stack([average_precision(matched, self.levels, weights) for matched in self.classes])
        return per_class, present_mean(per_class)


class BoxScorer(Scorer):
    """Scorer of detection: mAP of boxes."""

    metrics: ClassVar[tuple[str, ...]] = ("mAP@50", "mAP")
    columns: ClassVar[dict[str, str]] = BOX_COLUMNS

    def pack(self, found: dict[str, Tensor]) -> dict[str, Any]:
        """Return boxes, labels and scores as lists."""
        return {key: found[key].detach().cpu().tolist() for key in BOX_COLUMNS}

    def check_row(self, row: Any) -> str | None:
        """Check that the lists have equal lengths and the numbers are finite."""
        boxes, labels, scores = as_boxes(row.boxes), as_vector(row.labels), as_vector(row.scores)
        if not len(boxes) == len(labels) == len(scores):
            return f"has {len(boxes)} boxes, {len(labels)} labels and {len(scores)} scores; predict it again"
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            return ("has a box or score that is not finite; the model has diverged, train it again with a lower "
                    "learning rate")
        return None

    def compare(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, metric: str) -> Comparison:
        """See ``Scorer.compare``."""
        images = [BoxScorer.pair(self, label, detected, root) for label, detected in rows_by_image(truth, found)]
        return Matches(match_images(images, n_classes, METRICS[metric].rule), METRICS[metric].levels)

    def errors(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, score: float) -> Errors:
        """See ``Scorer.errors``; also the precision at the recall levels of COCO, IoU .5."""
        images = [self.pair(label, detected, root) for label, detected in rows_by_image(truth, found)]
        precision = precision_recall(match_images(images, n_classes, "voc"))
        return Errors(detection_confusion(images, n_classes, score), precision)

    def pair(self, label: Any, detected: Any, root: Path) -> Matchable:
        """Return the labels and detections of one image, to match by the shapes of the main metric."""
        return _matchable(label, detected, xywh(as_boxes(label.boxes)), xywh(as_boxes(detected.boxes)))


class MaskScorer(BoxScorer):
    """Scorer of instance segmentation: mAP of masks and of their boxes."""

    metrics: ClassVar[tuple[str, ...]] = ("mask_mAP@50", "mask_mAP", "mAP@50", "mAP")
    columns: ClassVar[dict[str, str]] = {
        **BOX_COLUMNS, "masks": "list of text, pycocotools' RLE counts at the size of the image file, same order"}

    def pack(self, found: dict[str, Tensor]) -> dict[str, Any]:
        """Return lists; masks as RLE counts."""
        rles = coco_mask.encode(np.asfortranarray(found["masks"].cpu().numpy().transpose(1, 2, 0), np.uint8))
        return {**super().pack(found), "masks": [rle["counts"].decode("ascii") for rle in rles]}

    def check_row(self, row: Any) -> str | None:
        """Check that every box has a mask."""
        if len(row.masks) != len(row.boxes):
            return f"has {len(row.boxes)} boxes and {len(row.masks)} masks; predict it again"
        return super().check_row(row)

    def compare(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, metric: str) -> Comparison:
        """See ``Scorer.compare``."""
        if not metric.startswith("mask_"):
            return super().compare(found, truth, n_classes, root, metric)
        precision = METRICS[metric.removeprefix("mask_")]
        images = [self.pair(label, detected, root) for label, detected in rows_by_image(truth, found)]
        return Matches(match_images(images, n_classes, precision.rule), precision.levels)

    def pair(self, label: Any, detected: Any, root: Path) -> Matchable:
        """See ``BoxScorer.pair``; the shapes are masks."""
        return _matchable(label, detected, _labelled_masks(label, root), _found_masks(label, detected))


def _matchable(label: Any, detected: Any, truth: NDArray[Any], found: NDArray[Any]) -> Matchable:
    return Matchable(truth, as_vector(label.labels, np.int64), as_vector(label.difficult, np.bool_), found,
                     as_vector(detected.labels, np.int64), as_vector(detected.scores))


def _labelled_masks(label: Any, root: Path) -> NDArray[Any]:
    masks = load_part(label, "instances", root).numpy()
    return _rles(coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8)))


def _found_masks(label: Any, detected: Any) -> NDArray[Any]:
    size = [int(label.height), int(label.width)]
    return _rles([{"size": size, "counts": counts.encode("ascii")} for counts in detected.masks])


def _rles(rles: list[dict[str, Any]]) -> NDArray[Any]:
    """Return an object array, which can be indexed by a boolean mask like the box arrays."""
    shapes = np.empty(len(rles), dtype=object)
    shapes[:] = rles
    return shapes


def average_precision(matches: ClassMatches, levels: NDArray[np.float64] | None = None,
                      weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    r"""Return the average precision of one class, mean over the IoU thresholds.

    ``AP = sum_k (r_k - r_{k-1}) * max_{j >= k} p_j`` over all points k, or ``mean_l max_{j: r_j >= l} p_j`` over
    recall levels l.

    Args:
        matches: detections, best score first.
        levels: recall levels (L,), or None for all points.
        weights: (B, N) weight of each of the N images in each of B resamples; None counts each once (B = 1).

    Returns:
        (B,) values in [0, 1]; NaN if no object is labelled.
    """
    weights = np.ones((1, len(matches.positives))) if weights is None else weights
    total = weights @ matches.positives
    values = np.zeros(len(weights))
    for true, ignored in zip(matches.true, matches.ignored, strict=True):
        hits, precision = envelope(weights[:, matches.image[~ignored]], true, ignored)
        recall = hits / np.maximum(total, 1)[:, None]
        if levels is None:
            values += (precision * np.diff(recall, axis=1, prepend=0)).sum(axis=1)
        else:
            reached = np.array([np.searchsorted(row, levels) for row in recall])
            padded = np.pad(precision, ((0, 0), (0, 1)))
            values += np.take_along_axis(padded, reached, axis=1).mean(axis=1)
    return np.where(total > 0, values / len(matches.true), np.nan)


def envelope(counts: NDArray[np.float64], true: NDArray[np.bool_],
             ignored: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return hits and interpolated precision (B, K) after each of the K detections that count, best score first.

    Args:
        counts: (B, K) how often each of these detections counts.
        true: (D,) as in ``ClassMatches``, of one threshold.
        ignored: (D,) in the same way.
    """
    hits, seen = np.cumsum(counts * true[~ignored], axis=1), np.cumsum(counts, axis=1)
    precision = hits / np.maximum(seen, np.finfo(float).tiny)
    return hits, np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]


def precision_recall(classes: list[ClassMatches]) -> NDArray[np.float64]:
    """Return the interpolated precision at ``RECALL_LEVELS``, mean over the classes that have labels.

    Args:
        classes: matches by one IoU threshold.
    """
    return present_mean(np.stack([_precision_at_levels(matches) for matches in classes]))


def _precision_at_levels(matches: ClassMatches) -> NDArray[np.float64]:
    if not (total := matches.positives.sum()):
        return np.full(len(RECALL_LEVELS), np.nan)
    once = np.ones((1, int((~matches.ignored[0]).sum())))
    hits, precision = envelope(once, matches.true[0], matches.ignored[0])
    return np.pad(precision[0], (0, 1))[np.searchsorted(hits[0] / total, RECALL_LEVELS)]
