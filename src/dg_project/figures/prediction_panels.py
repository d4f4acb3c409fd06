"""The same scenes in every domain: what the baseline finds and what the method finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dg_project.figures.panels import draw_box, open_image, row_dicts
from dg_project.figures.style import bare, class_colour, headline, look, method_label, new_figure, readable, tight


def prediction_panels(predictions: Mapping[str, pd.DataFrame], manifest: pd.DataFrame, root: Path, classes: list[str],
                      *, scenes: int = 3, score_threshold: float = 0.5) -> Figure:
    """Draw rows of scenes (one row per method below each other), columns of domains.

    Args:
        predictions: by method, baseline first: ``domain, image_id, boxes, labels, scores``.
        manifest: the images that were predicted. Scenes are image ids that every domain has, those with most boxes to
            be found first; where domains share no id, the k-th such image of each.
        root: folder that the manifest's paths start from.
        classes: names of labels 1..C.
        scenes: number of scenes.
        score_threshold: detections below it are not drawn.
    """
    domains = list(dict.fromkeys(manifest["domain"]))
    chosen = _choose(manifest, domains, scenes)
    found = {(method, row["domain"], row["image_id"]): row
             for method, table in predictions.items() for row in row_dicts(table)}
    methods = list(predictions)
    first = chosen[0][domains[0]]
    width = 2.15
    height = width * first["height"] / first["width"]
    with look():
        figure = new_figure(width * len(domains) + 0.3, (height + 0.06) * len(chosen) * len(methods) + 1.1)
        grid = figure.add_gridspec(len(chosen) * len(methods), len(domains))
        tight(figure)
        for s, scene in enumerate(chosen):
            for m, method in enumerate(methods):
                for d, domain in enumerate(domains):
                    axes = figure.add_subplot(grid[s * len(methods) + m, d])
                    _panel(axes, scene[domain], found[method, domain, scene[domain]["image_id"]], root, score_threshold)
                    if s == m == 0:
                        axes.set_title(readable(domain), fontsize=8.5, loc="center", fontweight="normal")
                    if d == 0:
                        axes.set_ylabel(method_label(method), fontsize=8)
        handles = [Line2D([], [], color=class_colour(k + 1), linewidth=2, label=name) for k, name in enumerate(classes)]
        handles.insert(0, Line2D([], [], color="#b8c0c8", linewidth=1, label="ground truth"))
        headline(figure, f"Detections in the same {len(chosen)} scenes: {' above '.join(map(method_label, methods))}",
                 f"Thin white: ground truth. Coloured: detections with a score of at least {score_threshold:g}, "
                 "written on the box. Shown are the scenes with most labelled boxes, not scenes picked by result.",
                 handles)
    return figure


def _choose(manifest: pd.DataFrame, domains: list[str], scenes: int) -> list[dict[str, dict[str, Any]]]:
    """Return, per scene, domain -> manifest row."""
    rows = {domain: sorted(row_dicts(manifest[manifest["domain"] == domain]),
                           key=lambda row: (sum(not hard for hard in row["difficult"]) * -1, str(row["image_id"])))
            for domain in domains}
    shared = set.intersection(*({row["image_id"] for row in part} for part in rows.values()))
    if shared:
        order = [row["image_id"] for row in rows[domains[0]] if row["image_id"] in shared][:scenes]
        by_id = {domain: {row["image_id"]: row for row in part} for domain, part in rows.items()}
        return [{domain: by_id[domain][image_id] for domain in domains} for image_id in order]
    return [{domain: rows[domain][k] for domain in domains} for k in range(min(scenes, *map(len, rows.values())))]


def _panel(axes: Axes, row: dict[str, Any], found: dict[str, Any], root: Path, threshold: float) -> None:
    axes.imshow(open_image(root, row["image"]), interpolation="antialiased")
    for box, difficult in zip(row["boxes"], row["difficult"], strict=True):
        if not difficult:
            draw_box(axes, box, "white", width=0.55)
    for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
        if score >= threshold:
            draw_box(axes, box, class_colour(int(label)), width=0.9, text=f"{score:.1f}".lstrip("0"))
    bare(axes)
