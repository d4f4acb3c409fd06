"""Contact sheet of the pseudo domains: source images, generated images, and those dropped by the gate."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.figures.predictions import draw_box, open_image, row_dicts
from dg_project.figures.style import MUTED, REJECTED, bare, figure_style, headline, new_figure, readable, tight


def pseudo_sheet(source: pd.DataFrame, source_root: Path, pseudo: pd.DataFrame, pseudo_root: Path, *,
                 scenes: int = 6, boxes: bool = True) -> Figure:
    """Draw one row per source image: the source, then each pseudo domain.

    Args:
        source: manifest rows of the source.
        source_root: folder that the source paths are relative to.
        pseudo: sampled manifest (``source_image_id``, ``weight``, ``kept``, ``reason``).
        pseudo_root: folder that the pseudo paths are relative to.
        scenes: number of source images; those with a dropped pseudo image fill at most half of the rows.
        boxes: whether to draw the labels.
    """
    domains = list(dict.fromkeys(pseudo["domain"]))
    made = {(row["domain"], row["source_image_id"]): row for row in row_dicts(pseudo)}
    chosen = _choose(source, pseudo, scenes)
    width = 2.3
    height = width * chosen[0]["height"] / chosen[0]["width"]
    with figure_style():
        figure = new_figure(width * (len(domains) + 1) + 0.2, (height + 0.2) * len(chosen) + 1.1)
        grid = figure.add_gridspec(len(chosen), len(domains) + 1)
        tight(figure)
        for r, row in enumerate(chosen):
            for c, domain in enumerate(["", *domains]):
                axes = figure.add_subplot(grid[r, c])
                image = made.get((domain, row["image_id"])) if domain else row
                _cell(axes, image, pseudo_root if domain else source_root, boxes)
                if r == 0:
                    axes.set_title(readable(domain) or "source", fontsize=9, loc="center", fontweight="normal")
        kept = int(pseudo["kept"].sum())
        lower = int((pseudo["kept"] & (pseudo["weight"] < 1)).sum())
        headline(figure, f"Pseudo domains: {kept} of {len(pseudo)} images kept, {len(pseudo) - kept} dropped",
                 f"{lower} of the kept ones have a weight below 1. White: boxes of the source image, which the pseudo "
                 f"image keeps as labels. Red frame: dropped by the gate, not used in training; reason below. "
                 f"{len(chosen)} of {source['image_id'].nunique()} source images are shown.")
    return figure


def _choose(source: pd.DataFrame, pseudo: pd.DataFrame, scenes: int) -> list[dict[str, Any]]:
    used = set(pseudo["source_image_id"])
    rows = [row for row in row_dicts(source) if row["image_id"] in used]
    dropped = set(pseudo.loc[~pseudo["kept"].astype(bool), "source_image_id"])
    bad = [row for row in rows if row["image_id"] in dropped][:scenes // 2]
    good = [row for row in rows if row["image_id"] not in dropped][:scenes - len(bad)]
    return [*good, *bad]


def _cell(axes: Axes, row: dict[str, Any] | None, root: Path, boxes: bool) -> None:
    bare(axes)
    if row is None:
        axes.text(0.5, 0.5, "not generated", ha="center", va="center", color=MUTED, transform=axes.transAxes)
        return
    axes.imshow(open_image(root, row), interpolation="antialiased")
    for box, label in zip(row["boxes"], row["labels"], strict=True) if boxes else []:
        if label > 0:
            draw_box(axes, box, "white", width=0.6)
    if not row.get("kept", True):
        for spine in axes.spines.values():
            spine.set(visible=True, color=REJECTED, linewidth=2.5)
        axes.set_xlabel(textwrap.fill(str(row["reason"]), 46), fontsize=7, color=REJECTED, labelpad=3)
    elif row.get("weight", 1) < 1:
        axes.set_xlabel(f"weight {row['weight']:.2f}", fontsize=7, color=MUTED, labelpad=3)
