"""What every task's score has in common: predictions are compared with labels once, then weighed per image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dg_project.core.errors import DataError

ALL = "all"
"""Name of the row that holds the score over all classes."""

Values = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(C, B) scores per class, NaN for classes that are not there, and (B,) over all classes; B resamples."""


class Comparison(Protocol):
    """Predictions beside labels of one domain, matched once; images in the order of their sorted ids."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(C,) labels of each class: boxes to be found, pixels, images."""
        ...

    def values(self, weights: NDArray[np.float64]) -> Values:
        """Score B resamples: ``weights`` (B, N) says how often each of the N images counts."""
        ...


class Scorer(ABC):
    """How the predictions of one task are stored, checked and scored.

    Attributes:
        metrics: names; the first one stands in headlines and selects models.
        columns: of the predictions table, beside ``domain`` and ``image_id``, and what they hold.
    """

    metrics: ClassVar[tuple[str, ...]]
    columns: ClassVar[dict[str, str]]

    @abstractmethod
    def pack(self, found: dict[str, Tensor]) -> dict[str, Any]:
        """Return what a model found in one image as plain values, one per column."""

    @abstractmethod
    def check_row(self, row: Any) -> str | None:
        """Return what is wrong with one row of predictions, or None."""

    @abstractmethod
    def compare(self, found: pd.DataFrame, truth: pd.DataFrame, n_classes: int, root: Path, metric: str) -> Comparison:
        """Compare predictions with labels of one domain.

        Args:
            found: predictions of one model.
            truth: manifest rows of the same images.
            n_classes: number of classes.
            root: folder that label images are relative to.
            metric: name in ``metrics``.
        """


def check_predictions(scorer: Scorer, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table unchanged when it holds what the task predicts, each image once.

    Raises:
        DataError: a column is missing, an image comes twice, or a row is malformed.
    """
    if missing := [c for c in ("domain", "image_id", *scorer.columns) if c not in predictions.columns]:
        raise DataError(f"predictions: column(s) {missing} are missing; write them again with "
                        "`kedro run --pipeline=evaluation`")
    if (twice := predictions.duplicated(["domain", "image_id"])).any():
        first = predictions.loc[twice].iloc[0]
        raise DataError(f"predictions: image '{first['image_id']}' of '{first['domain']}' comes twice; "
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
            raise DataError(f"image '{image}' of '{domain}' (and {len(extra) - 1} more) {problem}: score the very rows "
                            "that were predicted, or run `kedro run --pipeline=evaluation` again")


def score_predictions(scorer: Scorer, predictions: pd.DataFrame, manifest: pd.DataFrame, classes: list[str],
                      root: Path, metrics: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Score one model on every domain of the manifest.

    Args:
        scorer: of the task.
        predictions: one row per image, of one model.
        manifest: the very images that were predicted, with their labels.
        classes: class names.
        root: folder that label images are relative to.
        metrics: names in ``scorer.metrics``; None is all of them.

    Returns:
        Columns ``domain, metric, class, value, n_images, n_labels``: one row per class, and one named ``all``. A class
        that a domain lacks has value NaN and takes no part in ``all``. Values lie in [0, 1]; ``n_labels`` counts boxes,
        pixels or images of the class.

    Raises:
        DataError: predictions and manifest do not name the same images, or the predictions are malformed.
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


def present_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis of the entries that are not NaN; NaN where there is none."""
    present = ~np.isnan(values)
    return np.where(present.any(axis=0), np.where(present, values, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1),
                    np.nan)


def per_class_table(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a wide table: one row per domain, one column per class and one named ``all``."""
    rows = scores[scores["metric"] == metric]
    wide = rows.pivot(index="domain", columns="class", values="value")
    return wide.loc[list(dict.fromkeys(rows["domain"])), list(dict.fromkeys(rows["class"]))].rename_axis(columns=None)


def per_image_scores(scorer: Scorer, predictions: pd.DataFrame, manifest: pd.DataFrame, classes: list[str],
                     root: Path) -> pd.DataFrame:
    """Return the task's main metric on each image by itself.

    Args:
        scorer: of the task.
        predictions: one row per image, of one model.
        manifest: the very images that were predicted, with their labels.
        classes: class names.
        root: folder that label images are relative to.

    Returns:
        ``domain, image_id, value``, a row per image; NaN where an image has no label that counts.
    """
    check_same_images(check_predictions(scorer, predictions), manifest)
    tables = []
    for domain, truth in manifest.groupby("domain", sort=False):
        compared = scorer.compare(predictions[predictions["domain"] == domain], truth, len(classes), root,
                                  scorer.metrics[0])
        # The k-th "resample" of the scenes is the k-th image alone.
        values = compared.values(np.eye(len(truth)))[1]
        tables.append(pd.DataFrame({"domain": domain, "image_id": sorted(map(str, truth["image_id"])),
                                    "value": values}))
    return pd.concat(tables, ignore_index=True)


def class_gains(class_scores: pd.DataFrame, baseline: str, method: str, metric: str) -> pd.DataFrame:
    """Return method minus baseline for each class and domain.

    Args:
        class_scores: ``method, domain, metric, class, value, n_labels`` of both.
        baseline: name of one.
        method: name of the other.
        metric: the one to compare.

    Returns:
        ``domain, class, gain, n_labels`` in the order of the scores; NaN where a domain lacks a class.
    """
    rows = class_scores[class_scores["metric"] == metric]
    keys = ["domain", "class"]
    mine, theirs = (rows[rows["method"] == name].set_index(keys) for name in (method, baseline))
    gain = mine["value"] - theirs["value"].reindex(mine.index)
    return mine[["n_labels"]].assign(gain=gain).reset_index()[[*keys, "gain", "n_labels"]]
