"""Chart of the closed loop: difficulty of each pseudo domain, and its share of the images, by round."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.figures.style import INK, domain_colours, figure_style, headline, n_range, new_figure, readable


def allocation_chart(allocation: pd.DataFrame) -> Figure:
    """Draw the difficulty after each round (left) and the shares per round (right).

    Args:
        allocation: ``round, domain, difficulty, n_images, strength, share, images`` as in ``closed_loop.loop.Outcome``;
            difficulty is NaN if not measured.
    """
    domains = [str(name) for name in dict.fromkeys(allocation["domain"])]
    colours = domain_colours(["source", *domains])  # the first colour is the source's in all figures
    measured = allocation.dropna(subset="difficulty")
    with figure_style():
        figure = new_figure(9.4, 4.2)
        lines, bars = figure.subplots(1, 2, width_ratios=[1, 1.25])
        _difficulty(lines, measured, colours)
        _shares(bars, allocation, domains, colours)
        total = allocation.groupby("round")["images"].sum()
        headline(figure, _title(allocation, measured),
                 f"Left: 1 minus the task's main metric on pseudo images of held-out source scenes, "
                 f"n = {n_range(measured['n_images'])} images per domain, the same in every round. Right: share of "
                 f"the images that the round generated ({n_range(total)} in each), with their number; a strength other "
                 "than the first round's is written below it. No target image is used.",
                 bars.get_legend_handles_labels()[0])
    return figure


def _title(allocation: pd.DataFrame, measured: pd.DataFrame) -> str:
    rounds = sorted(allocation["round"].unique())
    before = measured[measured["round"] == rounds[-2]]
    if len(rounds) < 2 or before.empty:
        return "Where the images of each round went"
    hardest = str(before.loc[before["difficulty"].idxmax(), "domain"])
    share = allocation[allocation["domain"] == hardest].set_index("round")["share"]
    return (f"Hardest before the last round: {readable(hardest)}, from {share[rounds[0]]:.0%} to "
            f"{share[rounds[-1]]:.0%} of the images")


def _difficulty(axes: Axes, measured: pd.DataFrame, colours: dict[str, str]) -> None:
    for name, rows in measured.groupby("domain", sort=False):
        axes.plot(rows["round"], rows["difficulty"], marker="o", markersize=4.5, color=colours[str(name)])
    rounds = sorted(measured["round"].unique())
    axes.set_xticks(rounds, [f"after\nround {number}" for number in rounds])
    axes.set_xlim(min(rounds, default=0) - 0.3, max(rounds, default=1) + 0.3)
    axes.set_ylabel("difficulty (1 − metric)")
    axes.grid(axis="y")


def _shares(axes: Axes, allocation: pd.DataFrame, domains: list[str], colours: dict[str, str]) -> None:
    rounds = sorted(allocation["round"].unique())
    table = allocation.set_index(["round", "domain"])
    base = np.zeros(len(rounds))
    for name in domains:
        share = 100 * np.array([table.loc[(number, name), "share"] for number in rounds], float)
        axes.bar(range(len(rounds)), share, 0.7, bottom=base, color=colours[name], label=readable(name),
                 edgecolor="white", linewidth=0.8)
        for k, number in enumerate(rounds):
            if share[k] >= 4:
                first = table.loc[(rounds[0], name), "strength"]
                row = table.loc[(number, name)]
                moved = f"\nstrength {row['strength']:.2f}" if row["strength"] - first > 1e-9 and share[k] >= 9 else ""
                axes.text(k, base[k] + share[k] / 2, f"{int(row['images'])}{moved}", ha="center", va="center",
                          fontsize=7.5, color=_ink(colours[name]))
        base += share
    axes.set_xticks(range(len(rounds)), [f"round {number}" for number in rounds])
    axes.set_ylabel("share of the round's images (%)")
    axes.set_ylim(0, 100)
    axes.tick_params(axis="x", length=0)


def _ink(colour: str) -> str:
    """Return the text colour, white or ink, with more contrast on a colour."""
    red, green, blue = (int(colour[k:k + 2], 16) for k in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else INK
