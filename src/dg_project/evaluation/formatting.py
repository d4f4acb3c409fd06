"""Format scores, gains and p-values as text; scores in [0, 1] are written in percent with one decimal."""

from __future__ import annotations

import pandas as pd

MISSING = "–"


def number(value: float, spec: str) -> str:
    """Return a number in the format ``spec``; a dash for NaN."""
    return MISSING if pd.isna(value) else format(value, spec)


def percent(value: float, *, signed: bool = False, missing: str = MISSING) -> str:
    """Return ``43.8`` for 0.438, ``+43.8`` if signed; ``missing`` for NaN."""
    return missing if pd.isna(value) else format(100 * value, "+.1f" if signed else ".1f")


def low_to_high(low: float, high: float, *, signed: bool = False, missing: str = "") -> str:
    """Return an interval as ``42.4 to 45.2``; ``missing`` if the lower bound is NaN."""
    return missing if pd.isna(low) else f"{percent(low, signed=signed)} to {percent(high, signed=signed)}"


def mean_and_half_width(mean: float, high: float, missing: str = "not run") -> str:
    """Return ``43.8 ± 1.4``; without the half-width if the upper bound is NaN."""
    return percent(mean, missing=missing) + ("" if pd.isna(mean) or pd.isna(high) else f" ± {percent(high - mean)}")


def gain_and_interval(gain: float, low: float, high: float) -> str:
    """Return ``+0.5 [-1.3, +2.3]``; without the interval if the lower bound is NaN."""
    bounds = "" if pd.isna(gain) or pd.isna(low) else f" [{percent(low, signed=True)}, {percent(high, signed=True)}]"
    return percent(gain, signed=True) + bounds


def p_value(value: float) -> str:
    """Return a p-value with three decimals, or ``<0.001``."""
    return "<0.001" if value < 0.001 else number(value, ".3f")
