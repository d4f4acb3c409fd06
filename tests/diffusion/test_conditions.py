"""ControlNet conditions: thin edges, and masks in palette colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dg_project.diffusion.conditions import PALETTES, canny, edge_image, segmentation_image


def square(inside: float, outside: float = 40.0) -> np.ndarray:
    grey = np.full((40, 60), outside, np.float32)
    grey[10:30, 20:45] = inside
    return grey


def test_canny_square_outline() -> None:
    edges = canny(square(200))
    rows, columns = np.nonzero(edges)
    assert (rows.min(), rows.max()) in ((9, 29), (10, 30), (9, 30), (10, 29))
    assert not edges[12:28, 22:43].any()
    assert edges[15:25].sum() == 10 * 2, "each row crosses two edges, each one pixel wide"
    assert edges[:, 25:40].sum() == 15 * 2
    assert columns.min() >= 19
    assert columns.max() <= 45


@pytest.mark.parametrize("angle", [0, 30, 45, 60, 120])
def test_canny_every_direction(angle: float) -> None:
    y, x = np.mgrid[-20:21, -20:21]
    normal = np.cos(np.radians(angle)) * x + np.sin(np.radians(angle)) * y
    edges = canny(np.where(normal > 0, 220, 30).astype(np.float32))[5:-5, 5:-5]
    near = np.abs(normal[5:-5, 5:-5]) <= 1.5
    assert not edges[~near].any()
    assert 31 <= edges.sum() <= 62, "thin, and from border to border"


def test_canny_hysteresis() -> None:
    # A step of h grey levels has a Sobel response of 4 h: 30 is faint (120), 60 is strong (240), 20 is nothing (80).
    assert not canny(square(70)).any()
    assert canny(square(100)).any()
    assert not canny(square(60)).any()
    lit = square(70)
    lit[10:30, 20:22] = 140
    assert canny(lit)[12:28, 44:46].sum() > 0, "the faint far side is joined to the strong near side"


def test_edge_image_colours() -> None:
    image = edge_image(Image.fromarray(square(200).astype(np.uint8)).convert("RGB"))
    assert image.mode == "RGB"
    assert set(np.unique(np.asarray(image))) == {0, 255}
    assert not np.asarray(edge_image(Image.new("RGB", (20, 10), "grey"))).any()


@pytest.mark.parametrize("palette", PALETTES)
def test_segmentation_image_colours(palette: str) -> None:
    assert len(PALETTES[palette]) == 19
    mask = Image.fromarray(np.array([[0, 13, 10, 255]], np.uint8))
    road, car, sky, ignored = np.asarray(segmentation_image(mask, palette))[0].tolist()
    assert (road, car, sky) == tuple(list(PALETTES[palette][i]) for i in (0, 13, 10))
    assert ignored == [0, 0, 0]
