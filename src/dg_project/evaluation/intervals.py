"""Confidence intervals: t-intervals over training seeds, and bootstrap intervals over test scenes.

The bootstrap serves a single run: it resamples the test scenes, not the training seed. Predictions are matched with
labels once; a resample only re-weights the images. Domains with the same image ids (such as the five weathers of one
benchmark) and all models share the resamples, so differences are paired.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.evaluation.scorer import Scorer, check_predictions, check_same_images

NAN = float("nan")
Key = tuple[str, str, str]
"""(method, domain, metric)."""
KEY_COLUMNS = ["method", "domain", "metric"]


@dataclass(frozen=True)
class Interval:
    """Mean with confidence interval; the bounds are NaN for fewer than two values."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paired:
    """Mean difference of paired values with its interval and two two-sided p-values."""

    difference: float
    low: float
    high: float
    p_t: float
    p_wilcoxon: float
    n: int


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return ``mean +- t_{n-1} * s / sqrt(n)``.

    Args:
        values: one value per seed, no NaN.
        confidence: in (0, 1).
    """
    data = np.asarray(values, float)
    n = len(data)
    if n < 2 or np.isnan(data).any():
        return Interval(float(data.mean()) if n else NAN, NAN, NAN, n)
    mean, error = float(data.mean()), float(stats.sem(data))
    half = error * float(stats.t.ppf((1 + confidence) / 2, n - 1))
    return Interval(mean, mean - half, mean + half, n)


def paired_test(values: Sequence[float], reference: Sequence[float], confidence: float = 0.95) -> Paired:
    """Compare two methods paired by seed: t-interval, t-test and Wilcoxon signed-rank test of the differences.

    With n seeds Wilcoxon's p is at least ``2^(1-n)``: .25 for three seeds. Equal values give p = 1.

    Args:
        values: scores of the method, one per seed.
        reference: scores of the baseline, same seeds in the same order.
        confidence: confidence of the interval.
    """
    differences = np.asarray(values, float) - np.asarray(reference, float)
    interval = t_interval(differences.tolist(), confidence)
    if np.isnan(interval.low):
        return Paired(interval.mean, NAN, NAN, NAN, NAN, interval.n)
    if not differences.any():
        return Paired(0.0, 0.0, 0.0, 1.0, 1.0, interval.n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # equal differences: t is infinite and p is 0
        p_t = float(stats.ttest_1samp(differences, 0).pvalue)
        p_wilcoxon = float(stats.wilcoxon(differences).pvalue)
    return Paired(interval.mean, interval.low, interval.high, p_t, p_wilcoxon, interval.n)


@dataclass(frozen=True)
class Draws:
    """A score on the original scenes and on B resamples (B,)."""

    value: float
    resampled: NDArray[np.float64]
    n_images: int


@dataclass(frozen=True)
class Bootstrap:
    """Scores of several models on resampled test scenes.

    Attributes:
        scores: score by (method, domain, metric); ``unseen_mean`` follows the domains.
        confidence: share of the resamples within an interval.
    """

    scores: dict[Key, Draws]
    confidence: float

    def intervals(self) -> pd.DataFrame:
        """Return ``method, domain, metric, value, low, high, n_images``: scores with percentile intervals."""
        rows = [(*key, d.value, *self._bounds(d.resampled), d.n_images) for key, d in self.scores.items()]
        return pd.DataFrame(rows, columns=[*KEY_COLUMNS, "value", "low", "high", "n_images"])

    def differences(self, over: str) -> pd.DataFrame:
        """Return ``method, domain, metric, over, difference, low, high, n_images``: paired gains over one method."""
        rows = []
        for (method, domain, metric), own in self.scores.items():
            if method != over:
                base = self.scores[over, domain, metric]
                bounds = self._bounds(own.resampled - base.resampled)
                rows.append((method, domain, metric, over, own.value - base.value, *bounds, own.n_images))
        return pd.DataFrame(rows, columns=[*KEY_COLUMNS, "over", "difference", "low", "high", "n_images"])

    def _bounds(self, values: NDArray[np.float64]) -> tuple[float, float]:
        values = values[~np.isnan(values)]
        if not len(values):
            return NAN, NAN
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)


def bootstrap(scorer: Scorer, predictions: Mapping[str, pd.DataFrame], manifest: pd.DataFrame, classes: list[str],
              root: Path, *, metrics: tuple[str, ...] | None = None, resamples: int = 200, confidence: float = 0.95,
              seed: int = 0) -> Bootstrap:
    """Score every model on resampled test scenes.

    Args:
        scorer: scorer of the task.
        predictions: predictions table of each model, by method name.
        manifest: the images that all models predicted; domains with ``role`` target make the unseen mean.
        classes: class names.
        root: folder that label images are relative to.
        metrics: metrics to compute; None for the first of ``scorer.metrics``.
        resamples: number of resamples B.
        confidence: confidence of the intervals.
        seed: random seed of the resamples.
    """
    scores: dict[Key, Draws] = {}
    targets = [str(name) for name in dict.fromkeys(manifest.loc[manifest["role"] == "target", "domain"])]
    for method, table in predictions.items():
        check_same_images(check_predictions(scorer, table), manifest)
        for metric in metrics or scorer.metrics[:1]:
            for domain, truth in manifest.groupby("domain", sort=False):
                found = table[table["domain"] == domain]
                compared = scorer.compare(found, truth, len(classes), root, metric)
                ids = sorted(map(str, truth["image_id"]))
                values = compared.values(_weights(ids, resamples, seed))[1]
                scores[method, str(domain), metric] = Draws(float(values[0]), values[1:], len(truth))
            if targets:
                scores[method, UNSEEN_MEAN, metric] = _mean([scores[method, name, metric] for name in targets])
    return Bootstrap(scores, confidence)


def _mean(parts: list[Draws]) -> Draws:
    return Draws(float(np.mean([p.value for p in parts])), np.mean([p.resampled for p in parts], axis=0),
                 sum(p.n_images for p in parts))


def _weights(image_ids: list[str], resamples: int, seed: int) -> NDArray[np.float64]:
    """Return weights (1 + B, N): ones, then B draws of N images; the same ids give the same draws."""
    n = len(image_ids)
    generator = np.random.default_rng([seed, zlib.crc32("\n".join(image_ids).encode())])
    drawn = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.concatenate([np.ones((1, n)), drawn])
