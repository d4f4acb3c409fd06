"""Turn difficulties into shares of a round: small pure functions without images or models."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


def shrink(difficulty: Mapping[str, float], n_images: Mapping[str, int], prior: float) -> dict[str, float]:
    """Shrink each difficulty towards the mean of all: ``d' = (n d + prior m) / (n + prior)``.

    Args:
        difficulty: difficulty by domain, 0 (solved) to 1; NaN (not measured) becomes the mean.
        n_images: number of images that each was measured on.
        prior: pseudo-count of the mean ``m`` over the measured domains.
    """
    measured = [value for value in difficulty.values() if not math.isnan(value)]
    mean = sum(measured) / len(measured) if measured else 0.0

    def shrunken(value: float, n: int) -> float:
        return mean if math.isnan(value) or n + prior == 0 else (n * value + prior * mean) / (n + prior)

    return {name: shrunken(value, n_images[name]) for name, value in difficulty.items()}


def shares(difficulty: Mapping[str, float], temperature: float, floor: float) -> dict[str, float]:
    """Return each domain's share of a round: ``floor / K + (1 - floor) softmax(d / temperature)``.

    Args:
        difficulty: difficulty of K domains by name.
        temperature: > 0; a difference of one temperature makes a ratio of e in the softmax.
        floor: 0..1, part that is divided evenly; at 1 difficulty does not count.

    Returns:
        Shares that sum to 1, none below ``floor / K``.
    """
    values = np.array(list(difficulty.values())) / temperature
    weights = np.exp(values - values.max())
    softmax = weights / weights.sum()
    return {name: float(floor / len(values) + (1 - floor) * share)
            for name, share in zip(difficulty, softmax, strict=True)}


def divide(total: int, parts: Mapping[str, float], most: int | None = None) -> dict[str, int]:
    """Divide ``total`` whole images in proportion (largest remainder); the counts sum to ``total``.

    Args:
        total: number of images.
        parts: weight of each domain, >= 0, not all 0.
        most: upper bound per domain; the rest goes to the other domains in their proportion.

    Raises:
        ValueError: ``total`` is more than all domains may take.
    """
    if most is not None and total > most * len(parts):
        raise ValueError(f"{total} images do not fit into {len(parts)} domains of {most}")
    ideal = _capped(total, parts, most)
    counts = {name: math.floor(value + 1e-9) for name, value in ideal.items()}
    order = sorted(parts, key=lambda name: (counts[name] - ideal[name], list(parts).index(name)))
    open_to = [name for name in order if most is None or counts[name] < most]
    for name in open_to[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _capped(total: int, parts: Mapping[str, float], most: int | None) -> dict[str, float]:
    """Return the proportional (fractional) counts, capped at ``most``; the rest goes to the others."""
    full: set[str] = set()
    while True:
        rest = total - len(full) * (most or 0)
        weight = sum(value for name, value in parts.items() if name not in full)
        even = 1 / max(1, len(parts) - len(full))
        ideal = {name: float(most or 0) if name in full else rest * (value / weight if weight else even)
                 for name, value in parts.items()}
        over = {name for name, value in ideal.items() if most is not None and value > most and name not in full}
        if not over:
            return ideal
        full |= over


def raised(strength: float, difficulty: float, others: Mapping[str, float], step: float) -> float:
    """Return a domain's strength for the next round: the hardest gets ``step`` more, an average one nothing.

    ``min(1, strength + step (d - mean) / (max - mean))`` where d is above the mean of all domains.

    Args:
        strength: configured strength.
        difficulty: difficulty of this domain.
        others: difficulty of all domains by name.
        step: increase for the hardest domain.
    """
    mean, largest = sum(others.values()) / len(others), max(others.values())
    excess = max(0.0, difficulty - mean) / (largest - mean) if largest - mean > 1e-9 else 0.0
    return min(1.0, strength + step * excess)
