"""Sheets of hard images: training crops by cross-entropy, and the test images with the lowest score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dg_project.figures.predictions import drawing_of, open_image, row_dicts
from dg_project.figures.style import (
    INK,
    MUTED,
    REJECTED,
    RIGHT,
    bare,
    figure_style,
    headline,
    method_label,
    new_figure,
    readable,
    tight,
)

COLUMNS = 10


def hard_samples(samples: pd.DataFrame, root: Path, classes: Sequence[str], share: float, *,
                 hard_rows: int = 3, easy_rows: int = 1) -> Figure:
    """Draw crops by descending cross-entropy: rows of the selected share, then rows of the easiest crops.

    Args:
        samples: manifest rows of objects with the columns ``ce`` (cross-entropy), ``student`` and ``teacher`` (their
            0-based predicted classes).
        root: folder that image paths are relative to.
        classes: class names.
        share: selected share of the samples.
        hard_rows: rows of selected crops, spread evenly over the selected share.
        easy_rows: rows of the easiest crops.
    """
    ranked = samples.sort_values("ce", ascending=False, kind="stable").reset_index(drop=True)
    n_hard = max(1, int(share * len(ranked)))
    wanted = min(n_hard, hard_rows * COLUMNS)
    hard = ranked.iloc[[i * n_hard // wanted for i in range(wanted)]]
    easy = ranked.iloc[n_hard:].tail(easy_rows * COLUMNS)
    lines = -(-len(hard) // COLUMNS) + -(-len(easy) // COLUMNS)
    with figure_style():
        figure = new_figure(COLUMNS * 1.0 + 0.2, lines * 1.35 + 1.3)
        grid = figure.add_gridspec(lines, COLUMNS)
        tight(figure)
        for part, first in ((hard, 0), (easy, -(-len(hard) // COLUMNS))):
            for k, row in enumerate(row_dicts(part)):
                _cell(figure.add_subplot(grid[first + k // COLUMNS, k % COLUMNS]), row, root, classes,
                      selected=part is hard)
        limit = float(ranked["ce"].iloc[n_hard - 1])
        helped = (ranked["teacher"] == ranked["labels"].map(lambda label: int(label[0]) - 1)).head(n_hard).mean()
        headline(figure, f"The hardest {share:.0%}: {n_hard} of {len(ranked)} training crops have a cross-entropy "
                         f"of {limit:.2f} or more",
                 f"Red frame: among the hardest {share:.0%} by the cross-entropy of the "
                 f"trained student, spread evenly over them; the teacher is right on {helped:.0%} of these. Last row: "
                 "the easiest crops. Below each crop: true class, cross-entropy, and what the student (s) and the "
                 "teacher (t) say where they are wrong.")
    return figure


def _cell(axes: Axes, row: dict[str, Any], root: Path, classes: Sequence[str], *, selected: bool) -> None:
    bare(axes)
    axes.imshow(open_image(root, row), interpolation="antialiased", aspect="auto")
    axes.set_box_aspect(1)
    for spine in axes.spines.values():
        spine.set(visible=True, color=REJECTED if selected else RIGHT, linewidth=1.4)
    label = int(row["labels"][0]) - 1
    wrong = [f"{who[0]}: {classes[int(row[who])]}" for who in ("student", "teacher") if int(row[who]) != label]
    axes.set_xlabel("\n".join([f"{classes[label]}  {row['ce']:.2f}", *(wrong or [""])]), fontsize=6, color=MUTED,
                    labelpad=2)


def hardest_images(scores: Mapping[str, pd.DataFrame], predictions: pd.DataFrame, manifest: pd.DataFrame, root: Path,
                   classes: list[str], *, metric: str, images: int = 3, score_threshold: float = 0.5) -> Figure:
    """Draw one column per domain: the images with the lowest scores, the lowest first.

    Args:
        scores: ``domain, image_id, value`` of ``per_image_scores`` by method, the method to draw last.
        predictions: predictions of the method to draw.
        manifest: the images.
        root: folder that the manifest's paths are relative to.
        classes: class names.
        metric: metric of the scores.
        images: images per domain; ties are broken by the order of ``Drawing.order``.
        score_threshold: detections with lower scores are not drawn.
    """
    *others, shown = scores
    drawing = drawing_of(predictions.columns, root, classes, score_threshold)
    found = {(row["domain"], str(row["image_id"])): row for row in row_dicts(predictions)}
    value = {name: table.set_index(["domain", "image_id"])["value"].to_dict() for name, table in scores.items()}
    domains = [str(name) for name in dict.fromkeys(manifest["domain"])]
    columns = {domain: [row for row in drawing.order(row_dicts(manifest[manifest["domain"] == domain]))
                        if not np.isnan(value[shown][domain, str(row["image_id"])])] for domain in domains}
    chosen = {domain: sorted(rows, key=lambda row: value[shown][row["domain"], str(row["image_id"])])[:images]
              for domain, rows in columns.items()}
    width, depth = 2.15, max(1, *map(len, chosen.values()))
    height = width * drawing.aspect(next(row for rows in chosen.values() for row in rows))
    with figure_style():
        figure = new_figure(width * len(domains) + 0.2, (height + 0.2) * depth + 1.2)
        grid = figure.add_gridspec(depth, len(domains))
        tight(figure)
        for d, domain in enumerate(domains):
            for k, row in enumerate(chosen[domain]):
                axes, key = figure.add_subplot(grid[k, d]), (domain, str(row["image_id"]))
                drawing.draw(axes, row, found.get(key))
                bare(axes)
                says = [f"{method_label(name)} {100 * value[name][key]:.0f}" for name in [*others, shown]]
                lost = any(round(100 * value[name][key]) > round(100 * value[shown][key]) for name in others)
                axes.set_xlabel(", ".join(says), fontsize=7, labelpad=2, color=REJECTED if lost else INK)
                if k == 0:
                    axes.set_title(readable(domain), fontsize=8.5, loc="center", fontweight="normal")
        headline(figure, f"The images that {method_label(shown)} sees worst in each domain",
                 f"Below each image its own {metric} in percent; red where another model sees it better. "
                 f"{drawing.caption}", drawing.legend())
    return figure
