"""Sheet of the predictions of each method in the same scenes of every domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dg_project.figures.predictions import Drawing, drawing_of, row_dicts
from dg_project.figures.style import bare, figure_style, headline, method_label, new_figure, readable, tight


def prediction_panels(predictions: Mapping[str, pd.DataFrame], manifest: pd.DataFrame, root: Path, classes: list[str],
                      *, scenes: int = 3, score_threshold: float = 0.5) -> Figure:
    """Draw scenes as rows (one row per method) and domains as columns.

    Args:
        predictions: predictions table of any task by method, baseline first.
        manifest: the predicted images. Scenes are image ids that all domains share, in the order of
            ``Drawing.order``; if there are none, the k-th image of each domain.
        root: folder that the manifest's paths are relative to.
        classes: class names of the task.
        scenes: number of scenes.
        score_threshold: detections with lower scores are not drawn.
    """
    domains = list(dict.fromkeys(manifest["domain"]))
    methods = list(predictions)
    drawing = drawing_of(predictions[methods[0]].columns, root, classes, score_threshold)
    chosen = choose_scenes(manifest, domains, scenes, drawing)
    found = rows_by_key(predictions)
    rows = [*drawing.extra_rows, *methods]
    width = 2.15
    height = width * drawing.aspect(chosen[0][domains[0]])
    with figure_style():
        figure = new_figure(width * len(domains) + 0.3, (height + 0.19) * len(chosen) * len(rows) + 1.1)
        grid = figure.add_gridspec(len(chosen) * len(rows), len(domains))
        tight(figure)
        for s, scene in enumerate(chosen):
            for m, method in enumerate(rows):
                for d, domain in enumerate(domains):
                    axes = figure.add_subplot(grid[s * len(rows) + m, d])
                    own = found.get((method, domain, scene[domain]["image_id"]))
                    drawing.draw(axes, scene[domain], own)
                    bare(axes)
                    if own:
                        axes.set_xlabel(drawing.says(scene[domain], own), fontsize=7, labelpad=2)
                    if s == m == 0:
                        axes.set_title(readable(domain), fontsize=8.5, loc="center", fontweight="normal")
                    if d == 0:
                        axes.set_ylabel(method_label(method), fontsize=8)
        headline(figure, f"{drawing.what} in the same {len(chosen)} scenes, one row each for "
                         f"{', '.join(map(method_label, rows))}",
                 f"{drawing.caption} Scenes are chosen by their labels, not by results.", drawing.legend())
    return figure


def rows_by_key(predictions: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return (method, domain, image id) -> row of predictions."""
    return {(method, row["domain"], row["image_id"]): row
            for method, table in predictions.items() for row in row_dicts(table)}


def choose_scenes(manifest: pd.DataFrame, domains: list[str], scenes: int,
                  drawing: Drawing) -> list[dict[str, dict[str, Any]]]:
    """Return domain -> manifest row for each scene."""
    rows = {domain: drawing.order(row_dicts(manifest[manifest["domain"] == domain])) for domain in domains}
    shared = set.intersection(*({row["image_id"] for row in part} for part in rows.values()))
    if shared:
        order = [row["image_id"] for row in rows[domains[0]] if row["image_id"] in shared][:scenes]
        by_id = {domain: {row["image_id"]: row for row in part} for domain, part in rows.items()}
        return [{domain: by_id[domain][image_id] for domain in domains} for image_id in order]
    return [{domain: rows[domain][k] for domain in domains} for k in range(min(scenes, *map(len, rows.values())))]
