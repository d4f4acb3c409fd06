"""ControlNet conditions: edges of the source image, or its semantic mask in the ControlNet's training colours."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from dg_project.data.masks import COLOURS

FAINT, STRONG = 100, 200
"""Canny's thresholds on the sum of both Sobel responses, in grey levels, as in ControlNet's annotators."""

PALETTES: dict[str, list[tuple[int, int, int]]] = {
    "cityscapes": list(COLOURS),
    "ade20k": [
        (140, 140, 140), (235, 255, 7), (180, 120, 120), (120, 120, 120), (255, 184, 6), (51, 0, 255), (41, 0, 255),
        (255, 5, 153), (4, 200, 3), (4, 250, 7), (6, 230, 230), (150, 5, 61), (150, 5, 61), (0, 102, 200),
        (255, 0, 20), (255, 0, 245), (255, 0, 245), (163, 0, 255), (255, 245, 0),
    ],
}  # fmt: skip
"""Colours of the 19 train ids. ADE20K has no rider (person there) and no train (bus there)."""


def edge_image(image: Image.Image) -> Image.Image:
    """Return Canny's edges of an RGB image, white on black, as an RGB image."""
    edges = canny(np.asarray(image.convert("L"), np.float32))
    return Image.fromarray(np.repeat(edges[..., None], 3, axis=2).astype(np.uint8) * 255)


def canny(grey: np.ndarray) -> np.ndarray:
    """Return the edges ``(H, W)`` bool of a grey image ``(H, W)``, 0..255.

    Sobel gradients; keeps ridges of ``|gx| + |gy|`` across the edge, faint ones only if they touch strong ones.
    """
    across, down = ndimage.sobel(grey, axis=1), ndimage.sobel(grey, axis=0)
    strength = np.abs(across) + np.abs(down)
    sector = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    ridge = np.zeros(grey.shape, bool)
    padded = np.pad(strength, 1)
    for index, (dy, dx) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        ahead, behind = (_shifted(padded, sign * dy, sign * dx) for sign in (1, -1))
        ridge |= (sector == index) & (strength > behind) & (strength >= ahead)
    labels, count = ndimage.label(ridge & (strength > FAINT), structure=np.ones((3, 3)))
    touching = np.zeros(count + 1, bool)
    touching[labels[ridge & (strength > STRONG)]] = True
    return touching[labels] & (labels > 0)


def segmentation_image(mask: Image.Image, palette: str) -> Image.Image:
    """Return a mask of train ids in the colours of ``palette``; 255 (ignored) becomes black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(PALETTES[palette])] = PALETTES[palette]
    return Image.fromarray(colours[np.asarray(mask, np.uint8)])


def _shifted(padded: np.ndarray, dy: int, dx: int) -> np.ndarray:
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
