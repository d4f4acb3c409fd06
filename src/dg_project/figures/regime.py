"""Chart of what each method gains over ERM with pseudo images of several qualities."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dg_project.config.grids import BASELINE
from dg_project.figures.style import (
    MUTED,
    figure_style,
    headline,
    method_colours,
    method_label,
    new_figure,
    readable,
)

GROUP = 0.7
"""Width of the methods of one quality, in distances between qualities."""


def regime_chart(table: pd.DataFrame) -> Figure:
    """Draw the gain over ERM of every method, one group per quality, the least recognised first.

    Args:
        table: from ``evaluation.regime.regime_table``.
    """
    rows = table[table["method"] != BASELINE]
    qualities, methods = (list(dict.fromkeys(rows[name])) for name in ("quality", "method"))
    colours = method_colours(methods)
    with figure_style():
        figure = new_figure(2.4 + 1.5 * len(qualities), 4.2)
        axes = figure.subplots()
        axes.axhline(0, color=MUTED, linewidth=1)
        for number, method in enumerate(methods):
            mine = rows[rows["method"] == method].set_index("quality").loc[qualities]
            x = np.arange(len(qualities)) + GROUP * ((number + 0.5) / len(methods) - 0.5)
            gain = 100 * mine["gain"].to_numpy(float)
            spread = np.abs(100 * mine[["gain_low", "gain_high"]].to_numpy(float).T - gain)
            axes.errorbar(x, gain, spread, fmt="o", markersize=5, capsize=2, linewidth=1.2, color=colours[method],
                          label=method_label(method))
        first = rows.drop_duplicates("quality").set_index("quality").loc[qualities]
        axes.set_xticks(range(len(qualities)), [_tick(name, row) for name, row in first.iterrows()])
        axes.set_xlim(-0.5, len(qualities) - 0.5)
        axes.set_ylabel(f"{rows['metric'].iloc[0]} above ERM (points)")
        axes.grid(axis="y")
        headline(figure, "What mixing and its rivals gain with pseudo images of several qualities",
                 "Gain over ERM on the mean of the unseen domains with its interval over seeds. Below each quality: "
                 "objects that a model of the source recognises again in the pseudo images.",
                 axes.get_legend_handles_labels()[0])
    return figure


def _tick(name: object, row: pd.Series) -> str:
    share = "" if np.isnan(row["recognised"]) else f"\n{row['recognised']:.0%} recognised"
    return f"{readable(str(name))}{' (oracle)' if row['oracle'] else ''}{share}"
