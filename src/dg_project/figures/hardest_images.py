"""The images that a model sees worst, with what it saw in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dg_project.figures.panels import row_dicts
from dg_project.figures.predictions import drawing_of
from dg_project.figures.style import INK, REJECTED, bare, headline, look, method_label, new_figure, readable, tight


def hardest_images(scores: Mapping[str, pd.DataFrame], predictions: pd.DataFrame, manifest: pd.DataFrame, root: Path,
                   classes: list[str], *, metric: str, images: int = 3, score_threshold: float = 0.5) -> Figure:
    """Draw a column per domain: the images of the lowest score, the lowest first.

    Args:
        scores: by method, the one that is shown last: ``domain, image_id, value`` of ``per_image_scores``.
        predictions: of the method that is shown.
        manifest: the images.
        root: folder that the manifest's paths start from.
        classes: class names.
        metric: what the scores are.
        images: of each domain; of equally hard ones those with most to see.
        score_threshold: detections below it are not drawn.
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
    with look():
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
