"""Draw the predictions of each task on matplotlib axes: boxes and masks by outcome, semantic masks, or a label."""

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
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from dg_project.config import SEMANTIC_CLASSES
from dg_project.data.dataset import load_part, row_image
from dg_project.evaluation.detection import BoxScorer, MaskScorer
from dg_project.evaluation.outcomes import Outcome, outcome
from dg_project.evaluation.segmentation import confusion_matrix, unpack_mask
from dg_project.figures.style import FALSE, HIT, MISSED, MUTED, REJECTED, RIGHT, RIM, train_id_colours


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


def draw_box(axes: Axes, box: Any, colour: str, *, width: float = 1.0, dashed: bool = False, text: str = "") -> None:
    """Draw a box (x0, y0, x1, y1) with a dark rim, so that it shows on any ground, and an optional label."""
    x0, y0, x1, y1 = (float(value) for value in box)
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width,
                             linestyle=(0, (3, 1.6)) if dashed else "solid",
                             path_effects=[withStroke(linewidth=width + 1.4, foreground=RIM, alpha=0.7)]))
    if text:
        axes.annotate(text, (x0, y0), (0, 1), textcoords="offset points", fontsize=7, color=RIM, va="bottom",
                      annotation_clip=True, bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.9})


def draw_mask(axes: Axes, mask: NDArray[np.uint8], colours: NDArray[np.float64], alpha: float = 0.62) -> None:
    """Overlay a semantic mask (H, W); ids without a colour in ``colours`` (C, 3) are transparent."""
    overlay = np.zeros((*mask.shape, 4))
    known = mask < len(colours)
    overlay[known] = np.concatenate([colours, np.full((len(colours), 1), alpha)], 1)[mask[known]]
    axes.imshow(overlay, interpolation="nearest")


Row = dict[str, Any]


class Drawing:
    """Draws an image with its detections by outcome; subclasses draw other tasks.

    Attributes:
        what: name of the predictions, for the title.
        extra_rows: names of rows above the methods, drawn without predictions.
        per_view: images of one view.

    Args:
        root: folder that the manifest's paths are relative to.
        classes: class names.
        threshold: detections with lower scores are not drawn.
    """

    what: ClassVar[str] = "Detections"
    extra_rows: ClassVar[tuple[str, ...]] = ()
    per_view: ClassVar[int] = 1
    scorer: ClassVar[BoxScorer] = BoxScorer()

    def __init__(self, root: Path, classes: list[str], threshold: float) -> None:
        self.root, self.classes, self.threshold = root, classes, threshold

    @property
    def caption(self) -> str:
        """Explanation of a sheet."""
        return self.marks

    @property
    def marks(self) -> str:
        """Explanation of the marks."""
        return ("Green: found (right class, IoU of at least .5). Dashed white: missed. Red: false. Scores of "
                f"{self.threshold:g} and more count.")

    def order(self, rows: list[Row]) -> list[Row]:
        """Return the rows by descending number of labelled boxes."""
        return sorted(rows, key=lambda row: (-sum(not hard for hard in row["difficult"]), str(row["image_id"])))

    def aspect(self, row: Row) -> float:
        """Return height / width of the image of a row."""
        return float(row["height"] / row["width"])

    def draw(self, axes: Axes, row: Row, found: Row | None, *, named: bool = False) -> None:
        """Draw the image of a manifest row and the outcome of its detections, if given.

        Args:
            axes: where to draw.
            row: manifest row.
            found: predictions of the image.
            named: whether to write the class on each detection, and that of the object that it was taken for.
        """
        axes.imshow(open_image(self.root, row), interpolation="antialiased")
        if found is None:
            return
        result, width = self._outcome(row, found), 1.6 if named else 0.9
        for number in np.flatnonzero(result.counted & ~result.found):
            draw_box(axes, row["boxes"][number], MISSED, width=width, dashed=True)
        for hit, number, taken in zip(result.hit[::-1], result.kept[::-1], result.taken[::-1], strict=True):
            colour = HIT if hit else FALSE
            name = self._name(found["labels"][number])
            if not hit and taken >= 0:
                name += f", not {self._name(row['labels'][taken])}"
            draw_box(axes, found["boxes"][number], colour, width=width, text=name if named else "")
            self.draw_more(axes, row, found, int(number), colour)

    def says(self, row: Row, found: Row) -> str:
        """Return the outcome in words, such as ``9 of 17 found, 2 false``."""
        return str(self._outcome(row, found))

    def summary(self, parts: list[tuple[Row, Row]]) -> str:
        """Return the outcome of a view in words."""
        return self.says(*parts[0])

    def draw_more(self, axes: Axes, row: Row, found: Row, k: int, colour: str) -> None:
        """Draw further parts of detection k."""

    def legend(self) -> Iterable[Artist]:
        """Return the entries of the legend."""
        yield Line2D([], [], color=HIT, linewidth=2, label="found")
        yield Line2D([], [], color=MUTED, linewidth=1.4, linestyle="dashed", label="missed (white in the images)")
        yield Line2D([], [], color=FALSE, linewidth=2, label="false")

    def _outcome(self, row: Row, found: Row) -> Outcome:
        """Return the outcome; detections on difficult objects are left out, as in the scores."""
        result = outcome(self.scorer.pair(SimpleNamespace(**row), SimpleNamespace(**found), self.root), self.threshold)
        return result.without_ignored()

    def _name(self, label: int) -> str:
        return self.classes[int(label) - 1]


class MaskDrawing(Drawing):
    """Draws detections with their masks."""

    scorer = MaskScorer()

    def draw_more(self, axes: Axes, row: Row, found: Row, k: int, colour: str) -> None:
        """Tint the mask of detection k."""
        rle = {"size": [int(row["height"]), int(row["width"])], "counts": found["masks"][k].encode("ascii")}
        inside_object: NDArray[np.uint8] = np.where(coco_mask.decode(rle), 0, 255).astype(np.uint8)
        draw_mask(axes, inside_object, np.array([to_rgb(colour)]), alpha=0.45)


class SemanticDrawing(Drawing):
    """Draws semantic masks; those of the street classes in the colours of Cityscapes."""

    what = "Semantic masks"
    extra_rows = ("labels",)

    @property
    def marks(self) -> str:
        """Explanation of the colours."""
        return "Classes in the colours of Cityscapes." if tuple(self.classes) == SEMANTIC_CLASSES else ""

    @property
    def caption(self) -> str:
        """Explanation of the rows and the colours."""
        return f"First row: the labels, then the prediction of each model; unlabelled pixels are clear. {self.marks}"

    def draw(self, axes: Axes, row: Row, found: Row | None, *, named: bool = False) -> None:
        """Overlay the predicted mask, or the labels if there is no prediction."""
        axes.imshow(open_image(self.root, row), interpolation="antialiased")
        mask = unpack_mask(found["mask"]) if found else self._labels(row)
        draw_mask(axes, mask, train_id_colours(len(self.classes)))

    def says(self, row: Row, found: Row) -> str:
        """Return the share of the labelled pixels that are right."""
        matrix = confusion_matrix(self._labels(row), unpack_mask(found["mask"]), len(self.classes))
        return f"{np.trace(matrix) / max(matrix.sum(), 1):.0%} of the labelled pixels right"

    def _labels(self, row: Row) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = load_part(SimpleNamespace(**row), "mask", self.root).numpy()
        return labels

    def legend(self) -> Iterable[Artist]:
        """Return one patch per class."""
        for name, colour in zip(self.classes, train_id_colours(len(self.classes)), strict=True):
            yield Patch(color=tuple(colour), label=name)


class LabelDrawing(Drawing):
    """Draws one label per image: green if correct, red if wrong."""

    what = "Labels"
    per_view = 15

    @property
    def marks(self) -> str:
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

    def draw(self, axes: Axes, row: Row, found: Row | None, *, named: bool = False) -> None:
        """Draw the image and the predicted class."""
        axes.imshow(open_image(self.root, row), interpolation="antialiased", aspect="auto")
        if found:
            likely = int(np.argmax(found["probabilities"]))
            axes.text(0.03, 0.03, f"{self.classes[likely]} {found['probabilities'][likely]:.2f}", fontsize=7,
                      va="bottom", transform=axes.transAxes, color="white",
                      bbox={"facecolor": RIGHT if _is_right(row, found) else REJECTED, "edgecolor": "none", "pad": 1.2})

    def says(self, row: Row, found: Row) -> str:
        """Return ``right``, or the true class."""
        return "right" if _is_right(row, found) else f"is {self._name(row['labels'][0])}"

    def summary(self, parts: list[tuple[Row, Row]]) -> str:
        """Return how many of the images are right."""
        return f"{sum(_is_right(*part) for part in parts)} of these {len(parts)} images right"

    def legend(self) -> Iterable[Artist]:
        """Return no entries."""
        return ()


def _is_right(row: Row, found: Row) -> bool:
    return int(np.argmax(found["probabilities"])) + 1 == int(row["labels"][0])


def _area(row: Row) -> float:
    x0, y0, x1, y1 = row["boxes"][0]
    return float((x1 - x0) * (y1 - y0))


def drawing_of(columns: Iterable[str], root: Path, classes: list[str], threshold: float) -> Drawing:
    """Return the drawing for a predictions table with these columns."""
    kinds: dict[str, type[Drawing]] = {"masks": MaskDrawing, "boxes": Drawing, "mask": SemanticDrawing,
                                       "probabilities": LabelDrawing}
    names = set(columns)
    return next(kind for column, kind in kinds.items() if column in names)(root, classes, threshold)
