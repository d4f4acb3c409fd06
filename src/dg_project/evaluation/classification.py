"""Score classification: accuracy and balanced accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dg_project.evaluation.predictions import as_vector, rows_by_image
from dg_project.evaluation.scorer import Comparison, Errors, Scorer, Values, present_mean


@dataclass(frozen=True)
class Hits:
    """Which images were classified correctly.

    Attributes:
        right: (N,) bool.
        label: (N,) 0-based class of each image.
        n_classes: C.
        balanced: average over classes instead of images.
    """

    right: NDArray[np.bool_]
    label: NDArray[np.int64]
    n_classes: int
    balanced: bool

    @property
    def labels(self) -> NDArray[np.int64]:
        """(C,) number of images per class."""
        return np.bincount(self.label, minlength=self.n_classes)

    def values(self, weights: NDArray[np.float64]) -> Values:
        """Return accuracies per class (C, B), and over all images or classes (B,)."""
        onehot = np.eye(self.n_classes)[self.label]
        total, right = weights @ onehot, (weights * self.right) @ onehot
        per_class = np.where(total > 0, right / np.maximum(total, 1), np.nan).T
        accuracy = right.sum(axis=1) / np.maximum(total.sum(axis=1), 1)
        return per_class, present_mean(per_class) if self.balanced else accuracy


class AccuracyScorer(Scorer):
    """Scorer of classification."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy")
    columns: ClassVar[dict[str, str]] = {"probabilities": "list of float, one per class"}

    def pack(self, found: dict[str, Tensor]) -> dict[str, Any]:
        """Return the probabilities as a list."""
        return {"probabilities": found["probabilities"].cpu().tolist()}

    def check_row(self, row: Any) -> str | None:
        """Check that the probabilities are finite."""
        finite = len(row.probabilities) and np.isfinite(as_vector(row.probabilities)).all()
        return None if finite else ("has a probability that is not finite; the model has diverged, train it again with "
                                    "a lower learning rate")

    def compare(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, metric: str) -> Comparison:
        """See ``Scorer.compare``."""
        labels, predicted = _classes(found, truth)
        return Hits(labels == predicted, labels, n_classes, balanced=metric == "balanced_accuracy")

    def errors(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, score: float) -> Errors:
        """See ``Scorer.errors``; counts images."""
        matrix = np.zeros((n_classes, n_classes), np.int64)
        np.add.at(matrix, _classes(found, truth), 1)
        return Errors(matrix)


def _classes(found: pd.DataFrame, truth: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labelled and the predicted class (N,) of each image, counted from 0."""
    pairs = [(int(next(iter(label.labels))) - 1, int(as_vector(predicted.probabilities).argmax()))
             for label, predicted in rows_by_image(truth, found)]
    labels, predicted = np.array(pairs, np.int64).T
    return labels, predicted
