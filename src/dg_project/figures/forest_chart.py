"""Many variants at once: the unseen mean of each and its gain over the baseline, one line per row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.evaluation.table import uda_note
from dg_project.figures.benchmark_chart import finding
from dg_project.figures.style import (
    INK,
    MUTED,
    headline,
    look,
    method_colours,
    method_label,
    n_range,
    new_figure,
    row_labels,
)


def forest_chart(table: pd.DataFrame, records: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = "erm",
                 confidence: float = 0.95, lines: Sequence[str] = ("erm", "naive")) -> Figure:
    """Draw the unseen mean (left) and the paired gain over the baseline (right).

    Args:
        table: from ``benchmark_table``.
        records: the records it was made of; each seed is one small dot.
        metric: the one to draw.
        baseline: name of the baseline.
        confidence: of the intervals, for the caption.
        lines: rows whose mean is also drawn as a vertical line.
    """
    names = [str(name) for name in table.index]
    unseen = records[(records["metric"] == metric) & (records["domain"] == UNSEEN_MEAN)]
    values = {name: unseen[unseen["method"] == name].set_index("seed")["value"] for name in names}
    colours = method_colours(names)
    mean = {str(name): 100 * float(value) for name, value in table[UNSEEN_MEAN].items()}
    with look():
        figure = new_figure(10.5, 0.3 * len(names) + 2.2)
        means, gains = figure.subplots(1, 2, sharey=True, width_ratios=[1.3, 1])
        _intervals(means, table, UNSEEN_MEAN, values, colours)
        _intervals(gains, table, "gain", {name: (own - values[baseline]).dropna() for name, own in values.items()},
                   colours)
        for name in [line for line in lines if line in names]:
            means.axvline(mean[name], color=colours[name], linewidth=0.9, zorder=0)
        gains.axvline(0, color=MUTED, linewidth=0.9, zorder=0)
        means.set_yticks(range(len(names)), row_labels(table))
        means.set_ylim(len(names) - 0.4, -0.6)
        means.set_xlabel(f"{metric} (%), mean of the unseen domains")
        gains.set_xlabel(f"gain over {method_label(baseline)} (percentage points)")
        headline(figure, finding(table, metric, baseline),
                 f"Dots: single seeds (n = {n_range(table['n_seeds'])}). Marks and lines: mean and {confidence:.0%} "
                 "t-interval over seeds; the gain is paired by seed. Checkpoints selected by: "
                 f"{', '.join(dict.fromkeys(table['selection'].astype(str)))}.{uda_note(table)}")
    return figure


def _intervals(axes: Axes, table: pd.DataFrame, column: str, values: dict[str, pd.Series],
               colours: dict[str, str]) -> None:
    """Draw a column with its interval, one row of the table a line, and single seeds above it."""
    for k, (name, row) in enumerate(table.iterrows()):
        colour, seeds = colours[str(name)], 100 * values[str(name)].to_numpy(float)
        mean, low, high = (100 * float(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
        if np.isnan(mean):
            continue
        axes.scatter(seeds, np.full(len(seeds), k - 0.22), s=8, color=colour, alpha=0.6, linewidths=0)
        axes.errorbar([mean], [k], xerr=np.nan_to_num([[mean - low], [high - mean]]), fmt="o", markersize=4.5,
                      color=colour, elinewidth=1.3, capsize=2)
        if column == "gain":
            axes.annotate(f"{mean:+.1f}", (mean, k), (0, -4), textcoords="offset points", ha="center", va="top",
                          fontsize=7, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
