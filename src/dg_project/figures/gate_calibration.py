"""Chart and sheet of the gate's calibration: boxes by visibility, and whether a model finds them again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import beta

from dg_project.figures.predictions import open_image, row_dicts
from dg_project.figures.style import (
    DOMAIN_COLOURS,
    INK,
    MUTED,
    REJECTED,
    RIGHT,
    bare,
    figure_style,
    headline,
    new_figure,
    readable,
    tight,
)

BINS = 10
COLUMNS = 8
CONTEXT = 0.6
"""Surroundings of a box on the sheet, in box sides."""


def gate_chart(boxes: pd.DataFrame, curve: pd.DataFrame, choice: dict[str, Any], current: float) -> Figure:
    """Draw the share of boxes found again by visibility, and where they lie in each pseudo domain.

    Args:
        boxes: ``domain, visibility, found`` by box.
        curve: ``visibility, share`` of the fit.
        choice: from ``choose_visibility``.
        current: threshold of the run.
    """
    seen, found = boxes["visibility"].to_numpy(float), boxes["found"].to_numpy(float)
    with figure_style():
        figure = new_figure(7.4, 5.2)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        _shares(upper, seen, found)
        upper.plot(curve["visibility"], 100 * curve["share"], color=INK, linewidth=1.4, label="isotonic fit")
        for axes in (upper, lower):
            axes.axvline(choice["min_visibility"], color=RIGHT, linewidth=1.4, label="chosen")
            axes.axvline(current, color=REJECTED, linewidth=1.2, linestyle="--", label="of this run")
        upper.axhline(100 * choice["found_demanded"], color=MUTED, linewidth=0.8, linestyle=":")
        upper.set_ylabel("boxes found again (%)")
        upper.set_ylim(0, 100)
        upper.legend(loc="lower right")
        names = list(dict.fromkeys(boxes["domain"]))
        parts = [boxes.loc[boxes["domain"] == name, "visibility"].to_numpy(float) for name in names]
        lower.hist(parts, bins=24, stacked=True, label=[readable(name) for name in names],
                   color=DOMAIN_COLOURS[:len(names)])
        lower.legend(loc="upper left", fontsize=7)
        lower.set_xlabel("visibility of a box in its pseudo image")
        lower.set_ylabel("boxes")
        headline(figure, f"Objects with a visibility below {choice['min_visibility']:.2f} are hardly ever found again",
                 f"{choice['boxes']} boxes that the model trained on the source finds in the source image. Dots: "
                 "tenths of the boxes, with 95% Clopper-Pearson intervals. Chosen: the least visibility at which the "
                 f"fit reaches {choice['found_demanded']:.0%}; of the most visible {choice['found_best']:.0%}.")
    return figure


def _shares(axes: Axes, seen: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    """Draw the share found in each tenth of the boxes."""
    for part in np.array_split(np.argsort(seen, kind="stable"), BINS):
        hits, n = found[part].sum(), len(part)
        if not n:
            continue
        low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, n - hits + 1))
        high = 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))
        mean = hits / n
        axes.errorbar([seen[part].mean()], [100 * mean], yerr=[[100 * (mean - low)], [100 * (high - mean)]], fmt="o",
                      markersize=4.5, color=MUTED, elinewidth=1.2, capsize=2)


def borderline_sheet(boxes: pd.DataFrame, threshold: float, source_root: Path, pseudo_root: Path,
                     classes: Sequence[str], *, rows: int = 4) -> Figure:
    """Draw the boxes with a visibility nearest to the threshold, the least visible first: source above, pseudo below.

    Args:
        boxes: from ``boxes_found_again``.
        threshold: the chosen visibility.
        source_root: folder of ``source_image``.
        pseudo_root: folder of ``image``.
        classes: class names.
        rows: pairs of rows.
    """
    order = (boxes["visibility"] - threshold).abs().sort_values(kind="stable").index[:rows * COLUMNS]
    near = row_dicts(boxes.loc[order].sort_values("visibility", kind="stable"))
    lines = -(-len(near) // COLUMNS)
    with figure_style():
        figure = new_figure(COLUMNS * 1.15 + 0.2, lines * 2.75 + 1.3)
        grid = figure.add_gridspec(2 * lines, COLUMNS)
        tight(figure)
        for k, row in enumerate(near):
            line, column = divmod(k, COLUMNS)
            above, below = (figure.add_subplot(grid[2 * line + part, column]) for part in (0, 1))
            _crop(above, source_root, row["source_image"], row["box"])
            _crop(below, pseudo_root, row["image"], row["box"])
            above.set_title(classes[row["label"] - 1], fontsize=6.5, loc="center", fontweight="normal", pad=2)
            below.set_xlabel(f"{row['visibility']:.2f} {readable(row['domain'])}", fontsize=6.5, labelpad=2,
                             color=RIGHT if row["found"] else REJECTED)
        headline(figure, f"Boxes with a visibility near {threshold:.2f}",
                 "Each pair: the object in the source image, and in the pseudo image below. Under it its visibility "
                 "and pseudo domain: green where the model trained on the source finds it again, else red.")
    return figure


def _crop(axes: Axes, root: Path, image: str, box: Sequence[float]) -> None:
    """Draw a square around a box."""
    bare(axes)
    pixels = open_image(root, {"image": image})
    x0, y0, x1, y1 = box
    half = max(8.0, (0.5 + CONTEXT / 2) * max(x1 - x0, y1 - y0))
    across, down = (x0 + x1) / 2, (y0 + y1) / 2
    axes.imshow(pixels, interpolation="antialiased")
    axes.set_xlim(across - half, across + half)
    axes.set_ylim(down + half, down - half)
    axes.set_facecolor("#30363d")
    axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="white", linewidth=0.7)
