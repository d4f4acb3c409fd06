"""Charts of a benchmark table: scores per domain, and the gain over the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dg_project.evaluation.formatting import p_value
from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.evaluation.table import best_adapted, best_unseen, paired_gain, short_notes, table_domains
from dg_project.figures.style import (
    INK,
    MUTED,
    PAPER,
    figure_style,
    headline,
    method_colours,
    method_label,
    n_range,
    new_figure,
    readable,
    row_labels,
)

MOST_LEVEL = 2
"""Rows level with the best that a title names."""
MOST_SIDE_BY_SIDE = 6
"""Rows above this number become a forest chart."""


def benchmark_chart(table: pd.DataFrame, records: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = "erm",
                    confidence: float = 0.95) -> Figure:
    """Draw the score per domain (left) and the paired gain on the unseen mean (right).

    Args:
        table: from ``benchmark_table``.
        records: the records of the table; each seed is one small dot.
        metric: metric to draw.
        baseline: name of the baseline.
        confidence: confidence of the intervals, for the caption.
    """
    methods = [str(name) for name in table.index]
    domains = table_domains(table)
    rows = records[records["metric"] == metric]
    with figure_style():
        figure = new_figure(10.5, max(3.9, 0.45 * len(methods) + 3.2))
        scores, gains = figure.subplots(1, 2, width_ratios=[2.3, 1])
        _scores(scores, table, rows, methods, domains, metric)
        _gains(gains, table.drop(index=baseline), rows, baseline)
        rules = ", ".join(dict.fromkeys(table["selection"].astype(str)))
        headline(figure, chart_title(table, records, metric, baseline, confidence),
                 f"Dots: single seeds (n = {n_range(table['n_seeds'])}). Marks and lines: mean and "
                 f"{confidence:.0%} t-interval over seeds; the gain is paired by seed. "
                 f"Checkpoints selected by: {rules}.{short_notes(table)}", scores.get_legend_handles_labels()[0])
    return figure


def chart_title(table: pd.DataFrame, records: pd.DataFrame, metric: str, baseline: str,
                confidence: float = 0.95) -> str:
    """Return the title of a chart: the best row and those level with it, and separately the best row of UDA.

    Args:
        table: from ``benchmark_table``.
        records: the records of the table.
        metric: metric of the table.
        baseline: name of the baseline.
        confidence: confidence of the intervals of the paired gains; rows whose interval holds 0 are level.
    """
    means = 100 * table[UNSEEN_MEAN].astype(float)
    rows = records[records["metric"] == metric]

    def named(row: str) -> str:
        return f"{method_label(row)}, {means[row]:.1f}"

    def levels(best: str) -> list[str]:
        others = [str(name) for name in means.sort_values(ascending=False).index
                  if name != best and (table.loc[name, "setting"] == "UDA") == (table.loc[best, "setting"] == "UDA")]
        own = rows[rows["method"] == best]
        return [name for name in others if paired_gain(own, rows[rows["method"] == name], confidence).low <= 0]

    best, adapted = best_unseen(table), best_adapted(table)
    title = f"Highest mean {metric} over unseen domains: {named(best)}{_level_with(levels(best), means)}"
    if baseline not in (best, *levels(best)[:MOST_LEVEL]):
        title += f"; {method_label(baseline)} {means[baseline]:.1f}"
    return title if adapted is None else f"{title}; of those that adapt to them: {named(adapted)}"


def _level_with(names: list[str], means: pd.Series) -> str:
    """Return ``, level with naive (43.8)``; rows after the first few are counted."""
    if not names:
        return ""
    shown = [f"{method_label(name)} ({means[name]:.1f})" for name in names[:MOST_LEVEL]]
    more = [f"{len(names) - MOST_LEVEL} more"] if len(names) > MOST_LEVEL else []
    return f", level with {' and '.join([*shown, *more])}"


def _scores(axes: Axes, table: pd.DataFrame, rows: pd.DataFrame, methods: list[str], domains: list[str],
            metric: str) -> None:
    colours = method_colours(methods)
    positions = np.arange(len(domains)) + np.array([0.3 if name == UNSEEN_MEAN else 0.0 for name in domains])
    step = 0.72 / len(methods)
    for k, (method, label) in enumerate(zip(methods, row_labels(table), strict=True)):
        x = positions + (k - (len(methods) - 1) / 2) * step
        mean, low, high = (100 * np.array([table.loc[method, f"{d}{end}"] for d in domains], float)
                           for end in ("", "_low", "_high"))
        for position, domain in zip(x, domains, strict=True):
            seeds = 100 * rows.loc[(rows["method"] == method) & (rows["domain"] == domain), "value"].to_numpy(float)
            axes.scatter(np.full(len(seeds), position - 0.28 * step), seeds, s=9, color=colours[method], alpha=0.6,
                         linewidths=0)
        error = np.nan_to_num(np.stack([mean - low, high - mean]))
        axes.errorbar(x, mean, error, fmt="o", markersize=5, color=colours[method], elinewidth=1.3, capsize=2.5,
                      label=label)
    axes.set_xticks(positions, [readable(d).replace(" ", "\n", 1) for d in domains])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"{metric} (%)")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")


def _gains(axes: Axes, table: pd.DataFrame, rows: pd.DataFrame, baseline: str) -> None:
    colours = method_colours(table.index)
    unseen = rows[rows["domain"] == UNSEEN_MEAN]
    reference = unseen[unseen["method"] == baseline].set_index("seed")["value"]
    for k, (method, row) in enumerate(table.iterrows()):
        values = unseen[unseen["method"] == method].set_index("seed")["value"]
        paired = 100 * (values - reference).dropna().to_numpy(float)
        axes.scatter(paired, np.full(len(paired), k + 0.09), s=11, color=colours[str(method)], alpha=0.6, linewidths=0)
        gain, low, high = (100 * float(row[name]) for name in ("gain", "gain_low", "gain_high"))
        axes.errorbar([gain], [k], xerr=np.nan_to_num([[gain - low], [high - gain]]), fmt="o", markersize=5,
                      color=colours[str(method)], elinewidth=1.3, capsize=2.5)
        p = float(row["gain_p_t"])
        tested = "" if np.isnan(p) else f", p = {p_value(p)}".replace("= <", "< ")
        axes.annotate(f"{gain:+.1f}{tested}", (gain, k), (0, 7), textcoords="offset points", ha="center", fontsize=7.5,
                      color=INK, path_effects=[withStroke(linewidth=3, foreground=PAPER)])
    axes.axvline(0, color=MUTED, linewidth=0.9, zorder=0)
    axes.margins(x=0.3)  # room for the text at both ends
    axes.set_yticks(range(len(table)), row_labels(table))
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"gain over {method_label(baseline)},\nunseen mean (percentage points)")
    axes.grid(axis="x")


def forest_chart(table: pd.DataFrame, records: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = "erm",
                 confidence: float = 0.95, lines: Sequence[str] = ("erm", "naive")) -> Figure:
    """Draw the unseen mean (left) and the paired gain over the baseline (right).

    Args:
        table: from ``benchmark_table``.
        records: the records of the table; each seed is one small dot.
        metric: metric to draw.
        baseline: name of the baseline.
        confidence: confidence of the intervals, for the caption.
        lines: rows whose mean is also drawn as a vertical line.
    """
    names = [str(name) for name in table.index]
    unseen = records[(records["metric"] == metric) & (records["domain"] == UNSEEN_MEAN)]
    values = {name: unseen[unseen["method"] == name].set_index("seed")["value"] for name in names}
    colours = method_colours(names)
    mean = {str(name): 100 * float(value) for name, value in table[UNSEEN_MEAN].items()}
    with figure_style():
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
        headline(figure, chart_title(table, records, metric, baseline, confidence),
                 f"Dots: single seeds (n = {n_range(table['n_seeds'])}). Marks and lines: mean and {confidence:.0%} "
                 "t-interval over seeds; the gain is paired by seed. Checkpoints selected by: "
                 f"{', '.join(dict.fromkeys(table['selection'].astype(str)))}.{short_notes(table)}")
    return figure


def _intervals(axes: Axes, table: pd.DataFrame, column: str, values: dict[str, pd.Series],
               colours: dict[str, str]) -> None:
    """Draw a column with its interval, one line per row of the table, with single seeds above."""
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
                          fontsize=7, color=INK, path_effects=[withStroke(linewidth=3, foreground=PAPER)])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def records_chart(table: pd.DataFrame, records: pd.DataFrame, *, metric: str, baseline: str = "erm",
                  confidence: float = 0.95) -> Figure:
    """Draw ``benchmark_chart``, or ``forest_chart`` for more than ``MOST_SIDE_BY_SIDE`` rows."""
    draw = benchmark_chart if len(table) <= MOST_SIDE_BY_SIDE else forest_chart
    return draw(table, records, metric=metric, baseline=baseline, confidence=confidence)
