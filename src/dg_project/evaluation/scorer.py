"""Score predictions: compare them with labels once, then weight the images (all, resampled, or one at a time)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dg_project.core.errors import DataError

ALL = "all"
"""``class`` of the row with the score over all classes."""
MOST_NAMED = 5
"""Absent classes that are named; the others are counted."""

Values = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(C, B) scores per class, NaN for absent classes, and (B,) over all classes; B resamples."""


class Comparison(Protocol):
    """Predictions of one domain matched with labels; images sorted by id."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(C,) number of labels per class: boxes, pixels or images."""
        ...

    def values(self, weights: NDArray[np.float64]) -> Values:
        """Score B resamples; ``weights`` (B, N) is the weight of each of the N images."""
        ...


@dataclass(frozen=True)
class Errors:
    """What one model takes for what, in one domain.

    Attributes:
        confusion: counts of objects, pixels or images; rows are labelled classes, columns predicted ones. Detection has
            one more of each, the background: false detections and missed objects.
        precision: (101,) precision at the recall levels 0, .01, ..., 1; None for tasks without scores.
    """

    confusion: NDArray[np.int64]
    precision: NDArray[np.float64] | None = None

    def as_lists(self) -> dict[str, Any]:
        """Return both as lists that JSON can hold; precision without labels is None."""
        known = self.precision is not None and not np.isnan(self.precision).any()
        return {"confusion": self.confusion.tolist(),
                "precision": self.precision.round(4).tolist() if known and self.precision is not None else None}


class Scorer(ABC):
    """Stores, checks and scores the predictions of one task.

    Attributes:
        metrics: metric names; the first is the main metric, which selects models.
        columns: columns of the predictions table other than ``domain`` and ``image_id``, with descriptions.
    """

    metrics: ClassVar[tuple[str, ...]]
    columns: ClassVar[dict[str, str]]

    @abstractmethod
    def pack(self, found: dict[str, Tensor]) -> dict[str, Any]:
        """Return the prediction of one image as plain values, one per column."""

    @abstractmethod
    def check_row(self, row: Any) -> str | None:
        """Return the problem with one row of predictions, or None."""

    @abstractmethod
    def compare(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, metric: str) -> Comparison:
        """Compare predictions with labels of one domain.

        Args:
            found: predictions of one model.
            truth: manifest rows of the same images.
            n_classes: number of classes.
            root: folder that label images are relative to.
            metric: one of ``metrics``.
        """

    @abstractmethod
    def errors(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, score: float) -> Errors:
        """Return what is taken for what in one domain.

        Args:
            found: predictions of one model.
            truth: manifest rows of the same images.
            n_classes: number of classes.
            root: folder that label images are relative to.
            score: detections with lower scores are not counted in the confusion matrix.
        """


def check_predictions(scorer: Scorer, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table unchanged if it has the task's columns and each image once.

    Raises:
        DataError: a column is missing, an image is duplicated, or a row is malformed.
    """
    if missing := [c for c in ("domain", "image_id", *scorer.columns) if c not in predictions.columns]:
        raise DataError(f"predictions: column(s) {missing} are missing; write them again with "
                        "`kedro run --pipeline=evaluation`")
    if (twice := predictions.duplicated(["domain", "image_id"])).any():
        first = predictions.loc[twice].iloc[0]
        raise DataError(f"predictions: image '{first['image_id']}' of '{first['domain']}' is listed twice; "
                        "give the rows of one model at a time")
    row: Any
    for row in predictions.itertuples():
        if problem := scorer.check_row(row):
            raise DataError(f"predictions: image '{row.image_id}' of '{row.domain}' {problem}")
    return predictions


def check_same_images(predictions: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Raise ``DataError`` unless both tables name the same images of the same domains."""
    predicted = set(zip(predictions["domain"], predictions["image_id"], strict=True))
    expected = set(zip(manifest["domain"], manifest["image_id"], strict=True))
    for extra, problem in ((expected - predicted, "has no prediction"),
                           (predicted - expected, "is not in the manifest")):
        if extra:
            domain, image = sorted(extra)[0]
            raise DataError(f"image '{image}' of '{domain}' (and {len(extra) - 1} more) {problem}: score the same rows "
                            "that were predicted, or run `kedro run --pipeline=evaluation` again")


def score_predictions(scorer: Scorer, predictions: pd.DataFrame, manifest: pd.DataFrame, classes: list[str],
                      root: Path, metrics: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Score one model on every domain of the manifest.

    Args:
        scorer: scorer of the task.
        predictions: predictions of one model, one row per image.
        manifest: the predicted images with their labels.
        classes: class names.
        root: folder that label images are relative to.
        metrics: metrics to compute; None for all of ``scorer.metrics``.

    Returns:
        Columns ``domain, metric, class, value, n_images, n_labels``: one row per class, and one named ``all``. A class
        absent from a domain has value NaN and is left out of ``all``. Values are in [0, 1]; ``n_labels`` counts boxes,
        pixels or images of the class.

    Raises:
        DataError: predictions and manifest have different images, or the predictions are malformed.
    """
    check_same_images(check_predictions(scorer, predictions), manifest)
    rows = []
    found_in = dict(iter(predictions.groupby("domain")))
    for domain, truth in manifest.groupby("domain", sort=False):
        for metric in metrics or scorer.metrics:
            compared = scorer.compare(found_in[domain], truth, len(classes), root, metric)
            per_class, overall = compared.values(np.ones((1, len(truth))))
            rows += [(domain, metric, name, float(value), len(truth), int(count))
                     for name, value, count in zip(classes, per_class[:, 0], compared.labels, strict=True)]
            rows.append((domain, metric, ALL, float(overall[0]), len(truth), int(compared.labels.sum())))
    return pd.DataFrame(rows, columns=["domain", "metric", "class", "value", "n_images", "n_labels"])


def classes_scored(scores: pd.DataFrame) -> dict[str, str]:
    """Return domain -> the classes that its scores cover, such as ``4 of 5 (no bicycle)``.

    Args:
        scores: from ``score_predictions``; a class without labels in a domain is not scored there, by any metric.
    """
    rows = scores[(scores["class"] != ALL) & (scores["metric"] == scores["metric"].iloc[0])]
    covered = {}
    for domain, part in rows.groupby("domain", sort=False):
        absent = [str(name) for name in part.loc[part["n_labels"] == 0, "class"]]
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        named = ", ".join(absent[:MOST_NAMED]) + more
        covered[str(domain)] = f"{len(part) - len(absent)} of {len(part)}" + (f" (no {named})" if absent else "")
    return covered


def present_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis, ignoring NaN; NaN where all entries are NaN."""
    present = ~np.isnan(values)
    return np.where(present.any(axis=0), np.where(present, values, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1),
                    np.nan)


def per_class_table(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a wide table: one row per domain, one column per class and ``all``."""
    rows = scores[scores["metric"] == metric]
    wide = rows.pivot(index="domain", columns="class", values="value")
    return wide.loc[list(dict.fromkeys(rows["domain"])), list(dict.fromkeys(rows["class"]))].rename_axis(columns=None)


def per_image_scores(scorer: Scorer, predictions: pd.DataFrame, manifest: pd.DataFrame, classes: list[str],
                     root: Path) -> pd.DataFrame:
    """Return the task's main metric on each image separately.

    Args:
        scorer: scorer of the task.
        predictions: predictions of one model, one row per image.
        manifest: the predicted images with their labels.
        classes: class names.
        root: folder that label images are relative to.

    Returns:
        ``domain, image_id, value``, one row per image; NaN if an image has no label that counts.
    """
    check_same_images(check_predictions(scorer, predictions), manifest)
    tables = []
    for domain, truth in manifest.groupby("domain", sort=False):
        compared = scorer.compare(predictions[predictions["domain"] == domain], truth, len(classes), root,
                                  scorer.metrics[0])
        # The k-th resample consists of the k-th image only.
        values = compared.values(np.eye(len(truth)))[1]
        tables.append(pd.DataFrame({"domain": domain, "image_id": sorted(map(str, truth["image_id"])),
                                    "value": values}))
    return pd.concat(tables, ignore_index=True)


def class_gains(class_scores: pd.DataFrame, baseline: str, method: str, metric: str) -> pd.DataFrame:
    """Return method minus baseline for each class and domain.

    Args:
        class_scores: ``method, domain, metric, class, value, n_labels`` of both methods.
        baseline: method to subtract.
        method: method to compare.
        metric: metric to compare.

    Returns:
        ``domain, class, gain, n_labels`` in the order of the scores; NaN if a domain lacks a class.
    """
    rows = class_scores[class_scores["metric"] == metric]
    keys = ["domain", "class"]
    own, base = (rows[rows["method"] == name].set_index(keys) for name in (method, baseline))
    gain = own["value"] - base["value"].reindex(own.index)
    return own[["n_labels"]].assign(gain=gain).reset_index()[[*keys, "gain", "n_labels"]]
