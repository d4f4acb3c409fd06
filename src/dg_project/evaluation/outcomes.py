"""What became of every detection and every labelled object: found, missed, false, or taken for another class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dg_project.evaluation.matching import VOC_IOU, Matchable, overlap, voc_rule


@dataclass(frozen=True)
class Outcome:
    """Detections of one image at or above a score (D), and its labelled objects (G).

    Attributes:
        kept: (D,) their numbers in the prediction, best score first.
        hit: (D,) whether the detection is a true positive, by the VOC rule.
        ignored: (D,) whether it lies on a difficult object or in an ignored region, and counts neither way.
        taken: (D,) number of the object that it hits or takes for another class, or -1.
        found: (G,) whether the object is hit.
        counted: (G,) False for difficult objects and ignored regions.
    """

    kept: NDArray[np.int64]
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    taken: NDArray[np.int64]
    found: NDArray[np.bool_]
    counted: NDArray[np.bool_]

    @property
    def false(self) -> NDArray[np.bool_]:
        """(D,) whether the detection is a false positive."""
        return ~self.hit & ~self.ignored

    def without_ignored(self) -> Outcome:
        """Return the outcome of the detections that count."""
        keep = ~self.ignored
        return replace(self, kept=self.kept[keep], hit=self.hit[keep], ignored=self.ignored[keep],
                       taken=self.taken[keep])

    def __str__(self) -> str:
        """Return ``9 of 17 found, 2 false``."""
        return f"{self.found.sum()} of {self.counted.sum()} found, {self.false.sum()} false"


def outcome(image: Matchable, score: float) -> Outcome:
    """Match the detections of one image that have at least this score."""
    kept = np.flatnonzero(image.scores >= score)
    kept = kept[np.argsort(-image.scores[kept], kind="stable")]
    labels, counted = image.found_labels[kept], (image.truth_labels > 0) & ~image.difficult
    iou = overlap(image.found[kept], image.truth) if len(kept) and len(counted) else np.zeros((len(kept), len(counted)))
    hit, ignored, taken = np.zeros(len(kept), bool), np.zeros(len(kept), bool), np.full(len(kept), -1)
    for label in np.unique(labels):
        mine, truth = np.flatnonzero(labels == label), np.flatnonzero(image.truth_labels == label)
        if len(truth):
            hit[mine], ignored[mine], box = voc_rule(iou[np.ix_(mine, truth)], image.difficult[truth])
            taken[mine] = np.where(hit[mine], truth[box], -1)
    if len(kept) and (regions := image.truth_labels < 0).any():
        inside = overlap(image.found[kept], image.truth[regions], ignored=True)
        ignored |= ~hit & (inside.max(axis=1) >= VOC_IOU)
    found = np.isin(np.arange(len(counted)), taken)
    others = np.where(labels[:, None] == image.truth_labels, 0.0, iou)
    _take_others(others, ~hit & ~ignored, counted & ~found, taken)
    return Outcome(kept, hit, ignored, taken, found, counted)


def _take_others(iou: NDArray[np.float64], loose: NDArray[np.bool_], free: NDArray[np.bool_],
                 taken: NDArray[np.int64]) -> None:
    """Give each loose detection, best score first, the free object that it overlaps most."""
    for row in np.flatnonzero(loose) if free.any() else ():
        best = int(np.argmax(np.where(free, iou[row], -1)))
        if free[best] and iou[row, best] >= VOC_IOU:
            taken[row], free[best] = best, False


def detection_confusion(images: Iterable[Matchable], n_classes: int, score: float) -> NDArray[np.int64]:
    """Return (C + 1, C + 1) counts: rows are labelled classes, columns detected ones, the last is the background.

    A detection on an object of another class, and an object without a detection, count once each.
    """
    matrix = np.zeros((n_classes + 1, n_classes + 1), np.int64)
    for image in images:
        result = outcome(image, score)
        truth, found = image.truth_labels - 1, image.found_labels[result.kept] - 1
        met = (result.taken >= 0) & ~result.ignored
        np.add.at(matrix, (truth[result.taken[met]], found[met]), 1)
        np.add.at(matrix[n_classes], found[result.false & ~met], 1)
        missed = result.counted & ~np.isin(np.arange(len(truth)), result.taken[met])
        np.add.at(matrix[:, n_classes], truth[missed], 1)
    return matrix
