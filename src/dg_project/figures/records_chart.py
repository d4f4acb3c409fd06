"""The chart that fits a table: domains side by side for a few rows, one line per row for many."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from dg_project.figures.benchmark_chart import benchmark_chart
from dg_project.figures.forest_chart import forest_chart

MOST_SIDE_BY_SIDE = 6


def records_chart(table: pd.DataFrame, records: pd.DataFrame, *, metric: str, baseline: str = "erm",
                  confidence: float = 0.95) -> Figure:
    """Draw a benchmark table; see ``benchmark_chart`` and ``forest_chart`` for the arguments."""
    draw = benchmark_chart if len(table) <= MOST_SIDE_BY_SIDE else forest_chart
    return draw(table, records, metric=metric, baseline=baseline, confidence=confidence)
