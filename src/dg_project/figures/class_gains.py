"""Heat map of the gain over the baseline, by class and domain."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dg_project.figures.style import INK, MUTED, figure_style, headline, method_label, n_range, new_figure, readable

ALL = "all"


def class_gains_chart(gains: pd.DataFrame, *, baseline: str, method: str, metric: str) -> Figure:
    """Draw a heat map: one row per domain, one column per class and one for all.

    Args:
        gains: ``domain, class, gain, n_labels`` from ``evaluation.scorer.class_gains``, gains in -1..1.
        baseline: model that is subtracted.
        method: model to compare.
        metric: metric to compare.
    """
    domains, classes = (list(dict.fromkeys(gains[column])) for column in ("domain", "class"))
    table = 100 * gains.pivot(index="domain", columns="class", values="gain").loc[domains, classes].to_numpy(float)
    reach = max(1.0, float(np.nanmax(np.abs(table), initial=0)))
    with figure_style():
        figure = new_figure(1.6 + max(0.62, 0.5) * len(classes) + 1.3, 0.42 * len(domains) + 2.0)
        axes = figure.add_subplot()
        shown = axes.imshow(table, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto")
        for r, c in np.ndindex(table.shape):
            missing = np.isnan(table[r, c])
            strong = not missing and abs(table[r, c]) > 0.6 * reach
            axes.text(c, r, "–" if missing else f"{table[r, c]:+.1f}", ha="center", va="center", fontsize=8,
                      color=MUTED if missing else "white" if strong else INK,
                      fontweight="bold" if classes[c] == ALL else "normal")
        if ALL in classes:
            axes.axvline(classes.index(ALL) - 0.5, color="white", linewidth=3)
        axes.set_xticks(range(len(classes)), [readable(name) for name in classes],
                        rotation=0 if len(classes) < 10 else 40, ha="center" if len(classes) < 10 else "right")
        axes.set_yticks(range(len(domains)), [readable(name) for name in domains])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.02).set_label("percentage points")
        headline(figure, _title(gains, method, baseline, metric),
                 f"{method_label(method)} minus {method_label(baseline)} in {metric}; blue is a gain. "
                 f"n = {n_range(gains.loc[gains['class'] != ALL, 'n_labels'])} labels per class and domain; a dash: "
                 "the domain has none. One seed: small classes move by chance.")
    return figure


def _title(gains: pd.DataFrame, method: str, baseline: str, metric: str) -> str:
    single = gains[(gains["class"] != ALL)].dropna(subset="gain")
    if single.empty:
        return f"{metric} by class"
    mean = 100 * single.groupby("class", sort=False)["gain"].mean()
    return (f"{method_label(method)} over {method_label(baseline)} by class, mean over domains: most for "
            f"{mean.idxmax()} ({mean.max():+.1f}), least for {mean.idxmin()} ({mean.min():+.1f})")
