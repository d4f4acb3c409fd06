"""What the picture figures share: opening an image of a manifest, and drawing boxes, masks and labels on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from dg_project.files import inside


def open_image(root: Path, row: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return pixels (H, W, 3) of a manifest row's image, or of the part that its ``crop`` names."""
    with Image.open(inside(root, row["image"])) as image:
        pixels = np.asarray(image.convert("RGB"))
    if "crop" not in row:
        return pixels
    x0, y0, x1, y1 = (int(value) for value in row["crop"])
    return pixels[y0:y1, x0:x1]


def row_dicts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def draw_box(axes: Axes, box: Any, colour: str, *, width: float = 1.0, text: str = "") -> None:
    """Draw one box (x0, y0, x1, y1), with a small label on its upper edge."""
    x0, y0, x1, y1 = (float(value) for value in box)
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width))
    if text:
        axes.annotate(text, (x0, y0), (0, 0.8), textcoords="offset points", fontsize=4.6, color="#10151b", va="bottom",
                      annotation_clip=True, bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.5, "alpha": 0.9})


def draw_mask(axes: Axes, mask: NDArray[np.uint8], colours: NDArray[np.float64], alpha: float = 0.62) -> None:
    """Lay a semantic mask (H, W) over an image; ids without a colour in ``colours`` (C, 3) stay clear."""
    overlay = np.zeros((*mask.shape, 4))
    known = mask < len(colours)
    overlay[known] = np.concatenate([colours, np.full((len(colours), 1), alpha)], 1)[mask[known]]
    axes.imshow(overlay, interpolation="nearest")
