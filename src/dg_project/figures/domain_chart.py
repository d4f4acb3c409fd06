"""Bar chart of the scores per domain and method, with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.evaluation.formatting import low_to_high, percent
from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.figures.style import (
    INK,
    MUTED,
    figure_style,
    headline,
    method_colours,
    method_label,
    n_range,
    new_figure,
    readable,
)


def domain_chart(intervals: pd.DataFrame, differences: pd.DataFrame, *, metric: str = "mAP@50", source: str,
                 confidence: float = 0.95, note: str = "") -> Figure:
    """Draw one group of bars per domain: the source, the targets, and the unseen mean.

    Args:
        intervals: ``method, domain, metric, value, low, high, n_images`` with values in [0, 1], baseline first
            (``Bootstrap.intervals()``); ``low`` and ``high`` may be NaN.
        differences: ``method, domain, metric, over, difference, low, high`` (``Bootstrap.differences()``); may be
            empty. The title has those of the last method.
        metric: metric to draw.
        source: name of the source domain.
        confidence: confidence of the intervals, for the caption.
        note: appended to the caption, such as selection rule and seed.
    """
    rows = intervals[intervals["metric"] == metric]
    methods, domains = list(dict.fromkeys(rows["method"])), list(dict.fromkeys(rows["domain"]))
    positions = np.arange(len(domains)) + np.array([0.35 if name == UNSEEN_MEAN else 0.0 for name in domains])
    with figure_style():
        figure = new_figure(max(7.0, 1.35 * len(domains)), 4.1)
        axes = figure.add_subplot()
        for k, method in enumerate(methods):
            _bars(axes, rows[rows["method"] == method].set_index("domain").reindex(domains), positions, k, methods)
        names = [f"{readable(d)}\n(source)" if d == source else readable(d) for d in domains]
        axes.set_xticks(positions, [name.replace(" ", "\n", 1) for name in names])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"{metric} (%)")
        axes.set_ylim(0, min(112, 100 * float(np.nanmax(rows[["value", "high"]].to_numpy())) * 1.14 + 1))
        axes.grid(axis="y")
        axes.legend(ncols=len(methods), loc="upper right", bbox_to_anchor=(1, 1.1), borderaxespad=0)
        headline(figure, _title(rows, differences, metric), _caption(rows, confidence, note))
    return figure


def _bars(axes: Axes, rows: pd.DataFrame, positions: np.ndarray, k: int, methods: list[str]) -> None:
    width = 0.8 / len(methods)
    x = positions + (k - (len(methods) - 1) / 2) * width
    values = 100 * rows["value"].to_numpy(float)
    low, high = 100 * rows["low"].to_numpy(float), 100 * rows["high"].to_numpy(float)
    axes.bar(x, values, width * 0.94, color=method_colours(methods)[methods[k]], label=method_label(methods[k]))
    error = np.clip(np.stack([values - low, high - values]), 0, None)
    axes.errorbar(x, values, np.nan_to_num(error), fmt="none", ecolor=INK, elinewidth=0.9, capsize=2.2, alpha=0.8)
    for position, value, top in zip(x, values, np.fmax(values, high), strict=True):
        run = not np.isnan(value)
        axes.annotate(f"{value:.1f}" if run else "not run", (position, top if run else 0), (0, 2.5), ha="center",
                      textcoords="offset points", fontsize=7.5, color=INK if run else MUTED, rotation=0 if run else 90)


def _title(rows: pd.DataFrame, differences: pd.DataFrame, metric: str) -> str:
    unseen = rows[rows["domain"] == UNSEEN_MEAN]
    parts = [f"{method_label(m)} {percent(v)}" for m, v in zip(unseen["method"], unseen["value"], strict=True)]
    title = f"Mean {metric} over unseen domains: {', '.join(parts)}"
    if differences.empty:
        return title
    gains = differences[(differences["domain"] == UNSEEN_MEAN) & (differences["metric"] == metric)
                        & (differences["method"] == rows["method"].iloc[-1])].to_dict("records")
    told = []
    for gain in gains:
        name = "difference" if len(gains) == 1 else f"over {method_label(str(gain['over']))}"
        bounds = low_to_high(gain["low"], gain["high"], signed=True)
        told.append(f"{name} {percent(gain['difference'], signed=True)}, interval {bounds}")
    return f"{title} ({'; '.join(told)})" if told else title


def _caption(rows: pd.DataFrame, confidence: float, note: str) -> str:
    n = n_range(rows.loc[rows["domain"] != UNSEEN_MEAN, "n_images"])
    interval = (f"Lines: {confidence:.0%} bootstrap interval over test scenes, the same scenes for every bar. "
                if rows["low"].notna().any() else "")
    return f"{interval}n = {n} test images per domain. {note}".strip()
