"""Chart of source, pseudo and target images in the feature space of one or several models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dg_project.figures.style import (
    INK,
    domain_colours,
    figure_style,
    headline,
    method_label,
    n_range,
    new_figure,
    readable,
)

MARKERS = {"source": "o", "pseudo": "^", "target": "s"}


def feature_shift(points: Mapping[str, NDArray[np.float64]], domains: list[str], roles: list[str], shift: pd.DataFrame,
                  *, method: str = "t-SNE", note: str = "") -> Figure:
    """Draw the embedding of each model, and the distance of each domain from the source.

    Args:
        points: (N, 2) from ``features.embed`` by model, the baseline first.
        domains: domain of each point, N; pseudo domains and targets have different names.
        roles: ``source``, ``pseudo`` or ``target`` of each point, N.
        shift: ``domain, mmd2, proxy_a_distance, n_images`` from ``features.domain_shift``, and the column ``model``.
        method: name of the embedding, for the labels.
        note: appended to the caption.
    """
    role_of = dict(zip(domains, roles, strict=True))
    order = sorted(role_of, key=lambda name: list(MARKERS).index(role_of[name]))
    colours = domain_colours(sorted(order, key=lambda name: role_of[name] == "pseudo"))  # pseudo domains come last
    with figure_style():
        figure = new_figure(5.0 + 4.2 * len(points), 4.8)
        *clouds, bars = figure.subplots(1, len(points) + 1, width_ratios=[1.25] * len(points) + [1.1])
        for axes, (model, where) in zip(clouds, points.items(), strict=True):
            _cloud(axes, where, domains, roles, order, colours, method)
            axes.set_title(method_label(model))
        _bars(bars, shift, list(points), colours)
        headline(figure, _title(shift, list(points)),
                 f"Each point is one image (circle: source, triangle: pseudo, square: target): backbone features, mean "
                 f"over positions; each model has its own space. "
                 f"MMD²: unbiased, Gaussian kernel, standardised features, 0 means no shift. A: proxy A-distance, "
                 f"0 (inseparable) to 2 (separable). n = {n_range(shift['n_images'])} images each. {note}".strip(),
                 [Line2D([], [], linestyle="", marker=MARKERS[role_of[name]], color=colours[name], label=readable(name))
                  for name in order])
    return figure


def _title(shift: pd.DataFrame, models: list[str]) -> str:
    mean = shift.groupby("model")["mmd2"].mean()
    if len(models) > 1:
        before, after = mean[models[0]], mean[models[-1]]
        return (f"Mean distance of the domains from the source in feature space: {method_label(models[0])} "
                f"{before:.3f}, {method_label(models[-1])} {after:.3f} (MMD²)")
    far, near = (readable(str(shift["domain"].iloc[k])) for k in (shift["mmd2"].argmax(), shift["mmd2"].argmin()))
    return f"Distance from the source in feature space: largest for {far}, smallest for {near}"


def _cloud(axes: Axes, points: NDArray[np.float64], domains: list[str], roles: list[str], order: list[str],
           colours: dict[str, str], method: str) -> None:
    names, role_of = np.asarray(domains), dict(zip(domains, roles, strict=True))
    for name in order:
        part = points[names == name]
        axes.scatter(part[:, 0], part[:, 1], s=20, marker=MARKERS[role_of[name]], color=colours[name], alpha=0.75,
                     linewidths=0.3, edgecolors="white")
    axes.set_xlabel(f"{method} dimension 1 (no unit)", fontsize=8)
    axes.set_ylabel(f"{method} dimension 2 (no unit)", fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])


def _bars(axes: Axes, shift: pd.DataFrame, models: list[str], colours: dict[str, str]) -> None:
    """Draw one group per domain with one bar per model; all but the last model are pale."""
    order = list(shift[shift["model"] == models[-1]].sort_values("mmd2")["domain"])
    height = 0.78 / len(models)
    for m, model in enumerate(models):
        rows = shift[shift["model"] == model].set_index("domain").loc[order]
        y = np.arange(len(order)) + (len(models) - 1 - 2 * m) / 2 * height
        axes.barh(y, rows["mmd2"], height * 0.92, color=[colours[name] for name in order],
                  alpha=1.0 if m == len(models) - 1 else 0.4)
        for position, (_, row) in zip(y, rows.iterrows(), strict=True):
            name = f"{method_label(model)} " if len(models) > 1 else ""
            axes.annotate(f"{name}{row['mmd2']:.3f} · A {row['proxy_a_distance']:.1f}",
                          (max(row["mmd2"], 0), position), (4, 0), textcoords="offset points", va="center",
                          fontsize=7.5 if len(models) == 1 else 6.3, color=INK)
    axes.set_yticks(range(len(order)), [readable(name) for name in order])
    axes.set_xlim(min(0, *shift["mmd2"]), max(shift["mmd2"]) * (1.42 if len(models) == 1 else 1.6) + 1e-3)
    axes.set_xlabel("MMD² to the source (no unit)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
