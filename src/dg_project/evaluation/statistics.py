"""Intervals and tests over seeds (the seeds are few, so the t distribution and paired differences)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; the bounds are NaN for fewer than two values."""

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
        values: one per seed, no NaN.
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
    """Compare two methods seed by seed: t-interval and t-test of the differences, and Wilcoxon's signed-rank test.

    With n seeds Wilcoxon's p cannot fall below ``2^(1-n)``: .25 for three seeds. Equal values give p = 1.

    Args:
        values: of the method, one per seed.
        reference: of the baseline, same seeds in the same order.
        confidence: of the interval.
    """
    differences = np.asarray(values, float) - np.asarray(reference, float)
    interval = t_interval(differences.tolist(), confidence)
    if np.isnan(interval.low):
        return Paired(interval.mean, NAN, NAN, NAN, NAN, interval.n)
    if not differences.any():
        return Paired(0.0, 0.0, 0.0, 1.0, 1.0, interval.n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # differences that are all alike: t is infinite and p is 0
        p_t = float(stats.ttest_1samp(differences, 0).pvalue)
        p_wilcoxon = float(stats.wilcoxon(differences).pvalue)
    return Paired(interval.mean, interval.low, interval.high, p_t, p_wilcoxon, interval.n)
