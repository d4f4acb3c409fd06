"""Source, pseudo and target images in feature space."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dg_project.figures.style import INK, domain_colours, headline, look, n_range, new_figure, readable

MARKERS = {"source": "o", "pseudo": "^", "target": "s"}


def feature_shift(points: NDArray[np.float64], domains: list[str], roles: list[str], shift: pd.DataFrame, *,
                  method: str = "t-SNE", note: str = "") -> Figure:
    """Draw the embedding, and beside it how far each domain lies from the source.

    Args:
        points: (N, 2) from ``features.embed``.
        domains: name of each point's domain, N; pseudo domains named apart from targets.
        roles: ``source``, ``pseudo`` or ``target`` of each point, N.
        shift: ``domain, mmd2, proxy_a_distance, n_images`` from ``features.domain_shift``.
        method: name of the embedding, for the labels.
        note: further words for the caption.
    """
    role_of = dict(zip(domains, roles, strict=True))
    order = sorted(role_of, key=lambda name: list(MARKERS).index(role_of[name]))
    colours = domain_colours(sorted(order, key=lambda name: role_of[name] == "pseudo"))  # pseudo take the spare ones
    names, groups = np.asarray(domains), np.asarray(roles)
    with look():
        figure = new_figure(9.2, 4.6)
        cloud, bars = figure.subplots(1, 2, width_ratios=[1.35, 1])
        for name in order:
            mine = points[(names == name) & (groups == role_of[name])]
            cloud.scatter(mine[:, 0], mine[:, 1], s=20, marker=MARKERS[role_of[name]], color=colours[name], alpha=0.75,
                          linewidths=0.3, edgecolors="white", label=_label(name, role_of[name]))
        cloud.set_xlabel(f"{method} dimension 1 (no unit)")
        cloud.set_ylabel(f"{method} dimension 2 (no unit)")
        cloud.set_xticks([])
        cloud.set_yticks([])
        cloud.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=7.5, markerscale=1.2,
                     handletextpad=0.2, columnspacing=1.2)
        _bars(bars, shift, colours)
        far, near = (str(shift["domain"].iloc[k]) for k in (shift["mmd2"].argmax(), shift["mmd2"].argmin()))
        headline(figure, f"Distance from the source in feature space: largest for {readable(far)}, "
                         f"smallest for {readable(near)}",
                 f"Each point is one image: backbone features, mean over positions. MMD²: unbiased, Gaussian kernel, "
                 f"0 means no shift. A: proxy A-distance, 0 (alike) to 2 (always told apart). n = "
                 f"{n_range(shift['n_images'])} images per domain. {note}".strip())
    return figure


def _label(name: str, role: str) -> str:
    return readable(name) if name.startswith(role) else f"{readable(name)} ({role})"


def _bars(axes: Axes, shift: pd.DataFrame, colours: dict[str, str]) -> None:
    rows = shift.sort_values("mmd2").to_dict("records")
    values = [row["mmd2"] for row in rows]
    axes.barh(range(len(rows)), values, color=[colours[row["domain"]] for row in rows], height=0.62)
    axes.set_yticks(range(len(rows)), [readable(row["domain"]) for row in rows])
    for k, row in enumerate(rows):
        axes.annotate(f"{row['mmd2']:.3f} · A {row['proxy_a_distance']:.1f}", (max(row["mmd2"], 0), k), (4, 0),
                      textcoords="offset points", va="center", fontsize=7.5, color=INK)
    axes.set_xlim(min(0, *values), max(values) * 1.42 + 1e-3)
    axes.set_xlabel("MMD² to the source (no unit)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
