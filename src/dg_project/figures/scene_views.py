"""The same scene in every domain with the predictions of each model, as single images to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dg_project.figures.prediction_panels import choose_scenes, rows_by_key
from dg_project.figures.predictions import Drawing, Row, drawing_of
from dg_project.figures.style import RIM, bare, figure_style

WIDTH = 960
"""Pixels."""
COLUMNS = 5
"""Images per row of a view that shows several."""
LIST = "views.json"
"""File with ``marks``, and ``views``: domain, method, image and says of each."""


@dataclass(frozen=True)
class SceneViews:
    """Views of every domain by every model, and what their marks mean."""

    marks: str
    views: list[SceneView]


@dataclass(frozen=True)
class SceneView:
    """One scene as one model sees it.

    Attributes:
        domain: domain of the scene.
        method: name of the model.
        image: the drawn scene.
        says: what the model found, in words.
    """

    domain: str
    method: str
    image: Image.Image
    says: str


def scene_views(predictions: Mapping[str, pd.DataFrame], manifest: pd.DataFrame, root: Path, classes: list[str], *,
                score_threshold: float = 0.5) -> SceneViews:
    """Return a view of each domain by each model; the scene is chosen by its labels, as in ``prediction_panels``.

    Args:
        predictions: predictions table of any task by method.
        manifest: the predicted images.
        root: folder that the manifest's paths are relative to.
        classes: class names of the task.
        score_threshold: detections with lower scores are not drawn.
    """
    domains, methods = [str(name) for name in dict.fromkeys(manifest["domain"])], list(predictions)
    drawing = drawing_of(predictions[methods[0]].columns, root, classes, score_threshold)
    chosen = choose_scenes(manifest, domains, drawing.per_view, drawing)
    found = rows_by_key(predictions)
    views = []
    for domain in domains:
        rows = [scene[domain] for scene in chosen]
        for method in methods:
            parts = [(row, found[method, domain, row["image_id"]]) for row in rows]
            views.append(SceneView(domain, method, _drawn(drawing, parts), drawing.summary(parts)))
    return SceneViews(drawing.marks, views)


def _drawn(drawing: Drawing, parts: list[tuple[Row, Row]]) -> Image.Image:
    columns = min(COLUMNS, len(parts))
    lines = -(-len(parts) // columns)
    with figure_style():
        figure = Figure(figsize=(WIDTH / 100, WIDTH / 100 / columns * lines * drawing.aspect(parts[0][0])), dpi=100,
                        facecolor=RIM)
        canvas = FigureCanvasAgg(figure)
        figure.subplots_adjust(0, 0, 1, 1, 0.02, 0.02)
        for k, (row, found) in enumerate(parts, start=1):
            axes = figure.add_subplot(lines, columns, k)
            drawing.draw(axes, row, found, named=True)
            bare(axes)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def write_views(scenes: SceneViews, folder: Path) -> None:
    """Write the views into a folder, as WebP, with their list."""
    rows = []
    for view in scenes.views:
        path = Path(view.domain) / f"{view.method}.webp"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        view.image.save(folder / path, quality=82, method=6)
        rows.append({"domain": view.domain, "method": view.method, "image": path.as_posix(), "says": view.says})
    (folder / LIST).write_text(json.dumps({"marks": scenes.marks, "views": rows}, indent=1))
