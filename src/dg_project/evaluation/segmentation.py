"""Score semantic segmentation: mean intersection over union."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dg_project.data.dataset import load_part
from dg_project.data.masks import IGNORE, check_train_ids
from dg_project.evaluation.predictions import rows_by_image
from dg_project.evaluation.scorer import Comparison, Errors, Scorer, Values, present_mean


@dataclass(frozen=True)
class Confusions:
    """Confusion matrices (N, C, C), one per image: rows are labels, columns predictions."""

    matrices: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(C,) number of labelled pixels per class."""
        total: NDArray[np.int64] = self.matrices.sum(axis=(0, 2))
        return total

    def values(self, weights: NDArray[np.float64]) -> Values:
        """Return ``IoU_c = TP / (TP + FP + FN)`` over all pixels of the domain (C, B), and the mIoU (B,).

        As on Cityscapes, the pixels of all images are pooled. A class without labelled pixels has no IoU and is left
        out of the mean; predictions of it count against the classes that are labelled there.
        """
        pooled = np.tensordot(weights, self.matrices, axes=1)
        right = np.diagonal(pooled, axis1=1, axis2=2)
        labelled, predicted = pooled.sum(axis=2), pooled.sum(axis=1)
        union = labelled + predicted - right
        per_class = np.where(labelled > 0, right / np.maximum(union, 1), np.nan).T
        return per_class, present_mean(per_class)


class MIoUScorer(Scorer):
    """Scorer of semantic segmentation: mIoU."""

    metrics: ClassVar[tuple[str, ...]] = ("mIoU",)
    columns: ClassVar[dict[str, str]] = {"mask": "PNG bytes of the train ids, at the size of the image file"}

    def pack(self, found: dict[str, Tensor]) -> dict[str, Any]:
        """Return the mask as PNG bytes."""
        stream = io.BytesIO()
        Image.fromarray(found["mask"].cpu().numpy()).save(stream, "PNG")
        return {"mask": stream.getvalue()}

    def check_row(self, row: Any) -> str | None:
        """Check that there is a mask."""
        return None if row.mask else "has no mask; predict it again"

    def compare(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, metric: str) -> Comparison:
        """See ``Scorer.compare``."""
        return Confusions(np.stack([_confusion(label, predicted, n_classes, root)
                                    for label, predicted in rows_by_image(truth, found)]))

    def errors(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, score: float) -> Errors:
        """See ``Scorer.errors``; counts pixels."""
        return Errors(sum((_confusion(label, predicted, n_classes, root)
                           for label, predicted in rows_by_image(truth, found)),
                          np.zeros((n_classes, n_classes), np.int64)))


def unpack_mask(png: bytes) -> NDArray[np.uint8]:
    """Return the train ids (h, w) of a predicted mask."""
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image)


def confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """Return (C, C) pixel counts, rows are labels; pixels labelled 255 are ignored."""
    valid = labels != IGNORE
    pairs = n_classes * labels[valid].astype(np.int64) + predicted[valid]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def _confusion(label: Any, predicted: Any, n_classes: int, root: Path) -> NDArray[np.int64]:
    truth = load_part(label, "mask", root)
    check_train_ids(truth, n_classes, str(label.image))
    return confusion_matrix(truth.numpy(), unpack_mask(predicted.mask), n_classes)
