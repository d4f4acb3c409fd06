"""Draw the predictions of each task on matplotlib axes: boxes, masks or a label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dg_project.config import SEMANTIC_CLASSES
from dg_project.data.dataset import load_part, row_image
from dg_project.evaluation.segmentation import unpack_mask
from dg_project.figures.style import REJECTED, RIGHT, class_colour, train_id_colours


def open_image(root: Path, row: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) of a manifest row's image, or of its ``crop``."""
    pixels = row_image(root, SimpleNamespace(**row)).permute(1, 2, 0).numpy()
    if "crop" not in row:
        return pixels
    x0, y0, x1, y1 = (int(value) for value in row["crop"])
    return pixels[y0:y1, x0:x1]


def row_dicts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def draw_box(axes: Axes, box: Any, colour: str, *, width: float = 1.0, text: str = "") -> None:
    """Draw a box (x0, y0, x1, y1) with an optional label on its upper edge."""
    x0, y0, x1, y1 = (float(value) for value in box)
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width))
    if text:
        axes.annotate(text, (x0, y0), (0, 0.8), textcoords="offset points", fontsize=4.6, color="#10151b", va="bottom",
                      annotation_clip=True, bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5, "alpha": 0.9})


def draw_mask(axes: Axes, mask: NDArray[np.uint8], colours: NDArray[np.float64], alpha: float = 0.62) -> None:
    """Overlay a semantic mask (H, W); ids without a colour in ``colours`` (C, 3) are transparent."""
    overlay = np.zeros((*mask.shape, 4))
    known = mask < len(colours)
    overlay[known] = np.concatenate([colours, np.full((len(colours), 1), alpha)], 1)[mask[known]]
    axes.imshow(overlay, interpolation="nearest")


Row = dict[str, Any]


class Drawing:
    """Draws an image with its labels and detections; subclasses draw other tasks.

    Attributes:
        what: name of the predictions, for the title.
        extra_rows: names of rows above the methods, drawn without predictions.

    Args:
        root: folder that the manifest's paths are relative to.
        classes: class names.
        threshold: detections with lower scores are not drawn.
    """

    what: ClassVar[str] = "Detections"
    extra_rows: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: Path, classes: list[str], threshold: float) -> None:
        self.root, self.classes, self.threshold = root, classes, threshold

    @property
    def caption(self) -> str:
        """Explanation of the marks."""
        return (f"Thin white: ground truth. Coloured: detections with a score of at least {self.threshold:g}, written "
                "on the box.")

    def order(self, rows: list[Row]) -> list[Row]:
        """Return the rows by descending number of labelled boxes."""
        return sorted(rows, key=lambda row: (-sum(not hard for hard in row["difficult"]), str(row["image_id"])))

    def aspect(self, row: Row) -> float:
        """Return height / width of the image of a row."""
        return float(row["height"] / row["width"])

    def draw(self, axes: Axes, row: Row, found: Row | None) -> None:
        """Draw the image of a manifest row and its detections, if given."""
        axes.imshow(open_image(self.root, row), interpolation="antialiased")
        for box, difficult in zip(row["boxes"], row["difficult"], strict=True):
            if not difficult:
                draw_box(axes, box, "white", width=0.55)
        for k, (box, label, score) in enumerate(zip(found["boxes"], found["labels"], found["scores"], strict=True)
                                                if found else ()):
            if score >= self.threshold:
                draw_box(axes, box, class_colour(int(label)), width=0.9, text=f"{score:.1f}".lstrip("0"))
                self.draw_more(axes, row, found or {}, k)

    def draw_more(self, axes: Axes, row: Row, found: Row, k: int) -> None:
        """Draw further parts of detection k."""

    def legend(self) -> Iterable[Artist]:
        """Return the entries of the legend."""
        yield Line2D([], [], color="#b8c0c8", linewidth=1, label="ground truth")
        for k, name in enumerate(self.classes, start=1):
            yield Line2D([], [], color=class_colour(k), linewidth=2, label=name)


class MaskDrawing(Drawing):
    """Draws detections with their masks."""

    def draw_more(self, axes: Axes, row: Row, found: Row, k: int) -> None:
        """Tint the mask of detection k."""
        rle = {"size": [int(row["height"]), int(row["width"])], "counts": found["masks"][k].encode("ascii")}
        inside_object: NDArray[np.uint8] = np.where(coco_mask.decode(rle), 0, 255).astype(np.uint8)
        draw_mask(axes, inside_object, np.array([to_rgb(class_colour(int(found["labels"][k])))]), alpha=0.45)


class SemanticDrawing(Drawing):
    """Draws semantic masks; those of the street classes in the colours of Cityscapes."""

    what = "Semantic masks"
    extra_rows = ("labels",)

    @property
    def caption(self) -> str:
        """Explanation of the colours."""
        colours = ", in the colours of Cityscapes" if tuple(self.classes) == SEMANTIC_CLASSES else ""
        return f"First row: the labels, then the prediction of each model{colours}; unlabelled pixels are clear."

    def draw(self, axes: Axes, row: Row, found: Row | None) -> None:
        """Overlay the predicted mask, or the labels if there is no prediction."""
        axes.imshow(open_image(self.root, row), interpolation="antialiased")
        labels = SimpleNamespace(**row)
        mask = unpack_mask(found["mask"]) if found else load_part(labels, "mask", self.root).numpy()
        draw_mask(axes, mask, train_id_colours(len(self.classes)))

    def legend(self) -> Iterable[Artist]:
        """Return one patch per class."""
        for name, colour in zip(self.classes, train_id_colours(len(self.classes)), strict=True):
            yield Patch(color=tuple(colour), label=name)


class LabelDrawing(Drawing):
    """Draws one label per image: green if correct, red if wrong."""

    what = "Labels"

    @property
    def caption(self) -> str:
        """Explanation of the text."""
        return "The predicted class and its probability: green where it is right, red where it is wrong."

    def order(self, rows: list[Row]) -> list[Row]:
        """Return the largest image of each class, then the second largest, and so on."""
        by_class: dict[int, list[Row]] = {}
        for row in sorted(rows, key=lambda row: (-_area(row), str(row["image_id"]))):
            by_class.setdefault(int(row["labels"][0]), []).append(row)
        ranked = [(rank, label, row) for label, part in by_class.items() for rank, row in enumerate(part)]
        return [row for *_, row in sorted(ranked, key=lambda entry: entry[:2])]

    def aspect(self, row: Row) -> float:
        """Return 1: all images are drawn as squares."""
        return 1.0

    def draw(self, axes: Axes, row: Row, found: Row | None) -> None:
        """Draw the image and the predicted class."""
        axes.imshow(open_image(self.root, row), interpolation="antialiased", aspect="auto")
        if found:
            likely = int(np.argmax(found["probabilities"]))
            right = likely + 1 == int(row["labels"][0])
            axes.text(0.03, 0.03, f"{self.classes[likely]} {found['probabilities'][likely]:.2f}", fontsize=7,
                      va="bottom", transform=axes.transAxes, color="white",
                      bbox={"facecolor": RIGHT if right else REJECTED, "edgecolor": "none", "pad": 1.2})

    def legend(self) -> Iterable[Artist]:
        """Return no entries."""
        return ()


def _area(row: Row) -> float:
    x0, y0, x1, y1 = row["boxes"][0]
    return float((x1 - x0) * (y1 - y0))


def drawing_of(columns: Iterable[str], root: Path, classes: list[str], threshold: float) -> Drawing:
    """Return the drawing for a predictions table with these columns."""
    kinds: dict[str, type[Drawing]] = {"masks": MaskDrawing, "boxes": Drawing, "mask": SemanticDrawing,
                                       "probabilities": LabelDrawing}
    names = set(columns)
    return next(kind for column, kind in kinds.items() if column in names)(root, classes, threshold)
