"""A few images of every domain with their labels drawn: wrong labels are seen in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dg_project.config import Task
from dg_project.data.dataset import load_part
from dg_project.data.drawing import varied_rows
from dg_project.figures.labels import Label, write_labels
from dg_project.figures.overlays import rgb
from dg_project.figures.predictions import open_image, row_dicts
from dg_project.figures.style import class_colour, figure_style, new_figure, readable, train_id_colours

TILE = 420, 280
"""Width and height of an image on the sheet, in pixels."""
MOST_DOMAINS, MOST_NAMES = 12, 40
"""Domains that are drawn, and classes in the legend."""
TINT = 0.55
_PER_INCH = 190

Pixels = NDArray[np.uint8]


def contact_sheet(manifest: pd.DataFrame, root: Path, classes: Sequence[str], mask_classes: Sequence[str], task: Task,
                  images: int = 4) -> Figure:
    """Draw images of every domain with the labels that the task uses.

    Args:
        manifest: rows of any domains; of the source its training images are drawn.
        root: folder that its paths are relative to.
        classes: names of the labels 1, 2, ...
        mask_classes: names of the train ids 0, 1, ...
        task: segmentation draws masks, instance segmentation boxes and masks, other tasks boxes.
        images: number of images per domain, chosen to show many classes.
    """
    names = list(dict.fromkeys(manifest["domain"]))[:MOST_DOMAINS]
    shown = {name: _chosen(manifest[manifest["domain"] == name], task, images) for name in names}
    with figure_style():
        width, height = images * TILE[0] / _PER_INCH, len(names) * (TILE[1] / _PER_INCH + 0.28) + 0.5
        figure = new_figure(width, height)
        for axes, (name, rows) in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], shown.items(), strict=True):
            tiles = [_tile(row, root, classes, task) for row in row_dicts(rows)]
            axes.imshow(np.concatenate([*tiles, *[_blank()] * (images - len(tiles))], axis=1))
            axes.set_title(f"{readable(name)} ({rows['split'].iloc[0]})")
            axes.axis("off")
        figure.legend(handles=_legend(classes, mask_classes, task), loc="outside lower left", ncols=max(1, int(width)))
    return figure


def _chosen(rows: pd.DataFrame, task: Task, images: int) -> pd.DataFrame:
    """Return a few rows of one domain, of its split train if it has one."""
    own = rows[rows["split"] == "train"] if (rows["split"] == "train").any() else rows
    if task == "segmentation" and "mask_pixels" in own:
        held = [set(np.flatnonzero(np.asarray(row, np.int64)).tolist()) for row in own["mask_pixels"]]
    else:
        held = [{int(label) for label in row} for row in own["labels"]]
    return varied_rows(own, held, images)


def _tile(row: dict[str, Any], root: Path, classes: Sequence[str], task: Task) -> Pixels:
    """Return the scaled image with its labels in a tile of equal size, uint8 (H, W, 3)."""
    pixels = open_image(root, row)
    scale = min(TILE[0] / pixels.shape[1], TILE[1] / pixels.shape[0])
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    if task == "segmentation" and row["mask"]:
        image = _tinted(image, load_part(SimpleNamespace(**row), "mask", root).numpy(), train_id_colours(256))
    elif task == "instance_segmentation" and row["instances"]:
        colours = np.array([to_rgb(class_colour(int(label))) for label in row["labels"]]).reshape(-1, 3)
        for one, colour in zip(load_part(SimpleNamespace(**row), "instances", root).numpy(), colours, strict=True):
            image = _tinted(image, np.where(one, 0, 255).astype(np.uint8), colour[None])
    if task != "segmentation":
        image = _with_boxes(image, row, scale, classes)
    tile = Image.new("RGB", (TILE[0] + 6, TILE[1]), "white")
    tile.paste(image, ((TILE[0] - size[0]) // 2, (TILE[1] - size[1]) // 2))
    return np.asarray(tile)


def _tinted(image: Image.Image, mask: NDArray[np.uint8], colours: NDArray[np.float64]) -> Image.Image:
    """Return the image tinted where the mask (of any size) has an id with a colour."""
    ids = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
    pixels, known = np.asarray(image).astype(np.float64), ids < min(len(colours), 255)
    pixels[known] = (1 - TINT) * pixels[known] + TINT * 255 * colours[ids[known]]
    return Image.fromarray(pixels.round().astype(np.uint8))


def _with_boxes(image: Image.Image, row: dict[str, Any], scale: float, classes: Sequence[str]) -> Image.Image:
    """Draw each box with the name of its class; difficult ones are thin and carry no name."""
    draw, names = ImageDraw.Draw(image), []
    for box, label, hard in zip(row["boxes"], row["labels"], row["difficult"], strict=True):
        x0, y0, x1, y1 = (float(side) * scale for side in box)
        colour = class_colour(int(label)) if label > 0 else "#ffffff"
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=1 if hard else 2)
        if not hard:
            names.append(Label(one_line(classes[int(label) - 1]), (x0, y0, x1, y1), rgb(colour)))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return Image.fromarray(write_labels(pixels, names).permute(1, 2, 0).numpy())


def _legend(classes: Sequence[str], mask_classes: Sequence[str], task: Task) -> list[Patch]:
    if task == "segmentation":
        names, colours = list(mask_classes), [tuple(colour) for colour in train_id_colours(len(mask_classes))]
        return [Patch(color=colour, label=one_line(name)) for name, colour in zip(names, colours, strict=True)]
    return [Patch(color=class_colour(k), label=one_line(name))
            for k, name in enumerate(classes[:MOST_NAMES], start=1)]


def one_line(name: str) -> str:
    """Return a name without line breaks and other control characters, cut to a length that fits on an image."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _blank() -> Pixels:
    return np.full((TILE[1], TILE[0] + 6, 3), 255, np.uint8)
