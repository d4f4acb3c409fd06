"""Shared style of all figures: fonts, colours of methods, domains and classes, titles and captions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dg_project.data.masks import COLOURS
from dg_project.evaluation.table import setting_marks

INK, MUTED, GRID, PAPER = "#1f2933", "#5f6c7b", "#e4e8ed", "#ffffff"
REJECTED, RIGHT = "#d64545", "#2f8f5b"
HIT, MISSED, FALSE, RIM = "#37d67a", "#ffffff", "#ff4b4b", "#10151b"
"""Detections on images: found, missed, false, and the dark rim around them."""
METHOD_COLOURS = {"erm": "#8a96a3", "naive": "#d9a441", "mixstyle": "#5a9e6f", "drsf": "#2f6db3",
                  "domainfusion": "#8b5fbf"}
SPARE_COLOURS = ["#c8553d", "#3aa6a6", "#b5587f", "#6b7f3a", "#7a5c46"]
DOMAIN_COLOURS = ["#e0a526", "#3b4cc0", "#5b8fb9", "#1b1f4b", "#8fa3ad", "#c8553d", "#5a9e6f", "#8b5fbf", "#b5587f"]
CLASS_COLOURS = ["#ff9f1c", "#2ec4b6", "#4cc9f0", "#f15bb5", "#fee440", "#9b5de5", "#90e561", "#ff6b6b", "#c0c0ff"]
DPI = 150

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left",
    "axes.titleweight": "bold", "axes.edgecolor": MUTED, "axes.labelcolor": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.axisbelow": True, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "grid.color": GRID, "legend.frameon": False,
    "legend.fontsize": 8.5, "figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER,
    "figure.dpi": DPI, "savefig.dpi": DPI, "text.parse_math": False,  # names of classes may hold a $
}


def figure_style() -> AbstractContextManager[None]:
    """Return the matplotlib context in which every figure is drawn."""
    settings: Any = RC
    return mpl.rc_context(settings)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, size in inches, without window or global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def readable(name: str) -> str:
    """Return ``unseen mean`` for ``unseen_mean``."""
    return name.replace("_", " ")


_WRITTEN = {"erm": "ERM", "drsf": "DRSF", "diga": "DiGA", "mic": "MIC", "scmd": "SCMD", "mixstyle": "MixStyle",
            "domainfusion": "DomainFusion", "dsi": "DSI", "lfme": "LFME", "adaodm": "AdaODM", "dadg": "DADG",
            "mixnorm": "MixNorm", "rsc": "RSC", "sagnet": "SagNet", "oadg": "OA-DG", "divalign": "DivAlign"}


def method_label(name: str) -> str:
    """Return a method's name as in its paper; combined methods are joined by a plus."""
    first, _, rest = name.partition("_")
    if first not in _WRITTEN:
        return readable(name)
    return f"{_WRITTEN[first]} {f'+ {_WRITTEN[rest]}' if rest in _WRITTEN else readable(rest)}".strip()


def row_labels(table: pd.DataFrame) -> list[str]:
    """Return labels for the rows of a ``benchmark_table``, with the mark of UDA."""
    return [method_label(name) + mark for name, mark in setting_marks(table).items()]


def method_colours(names: Iterable[str]) -> dict[str, str]:
    """Return method -> colour; known methods have a fixed colour."""
    spare = iter(SPARE_COLOURS * 10)
    return {name: METHOD_COLOURS.get(name) or next(spare) for name in dict.fromkeys(names)}


def domain_colours(names: Iterable[str]) -> dict[str, str]:
    """Return domain -> colour, in order of appearance (the source first)."""
    return {name: DOMAIN_COLOURS[i % len(DOMAIN_COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


def class_colour(label: int) -> str:
    """Return the colour of label 1..C."""
    return CLASS_COLOURS[(label - 1) % len(CLASS_COLOURS)]


def train_id_colours(n_classes: int) -> NDArray[np.float64]:
    """Return colours (n, 3) in 0..1 of the train ids: those of Cityscapes for 19 classes, then ``CLASS_COLOURS``."""
    own = np.array(COLOURS) / 255
    spare = np.array([to_rgb(colour) for colour in CLASS_COLOURS])
    return np.concatenate([own, np.resize(spare, (max(0, n_classes - len(own)), 3))])[:n_classes]


def headline(figure: Figure, title: str, caption: str, legend: Iterable[Artist] = ()) -> None:
    """Write a title above the axes, and a caption and legend below them; the title is also the figure's label.

    The space is reserved in inches, so the text never overlaps the axes.
    """
    figure.set_label(title)
    width, height = figure.get_size_inches()
    title, caption = textwrap.fill(title, int(width * 9.2)), textwrap.fill(caption, int(width * 14.8))
    handles = list(legend)
    top = 0.16 + 0.2 * (title.count("\n") + 1)
    words = 0.1 + 0.15 * (caption.count("\n") + 1)
    widest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, min(len(handles), int(width / (0.55 + 0.075 * widest))))
    lines = math.ceil(len(handles) / columns)
    bottom = words + (0.07 + 0.2 * lines if handles else 0)
    figure.text(0.1 / width, 1 - 0.1 / height, title, ha="left", va="top", fontsize=11, fontweight="bold", color=INK)
    figure.text(0.1 / width, 0.06 / height, caption, ha="left", va="bottom", fontsize=8, color=MUTED)
    if handles:
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, words / height), ncols=columns,
                      borderaxespad=0.2)
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, bottom / height, 1, 1 - (top + bottom) / height))


def n_range(counts: Iterable[float]) -> str:
    """Return ``80``, or ``60 to 80`` if the counts differ."""
    values = [int(count) for count in counts]
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def tight(figure: Figure) -> None:
    """Reduce the space between the axes of a sheet of images."""
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.018, h_pad=0.02, hspace=0.01, wspace=0.01)


def bare(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
