"""Numpy-painted facades: windows over a row of shops, with an alpha channel that says which windows are lit."""

from __future__ import annotations

import numpy as np

CELL = 20  # pixels per window cell
COLUMNS, FLOORS = 7, 9  # cells in one texture

WALLS = [
    (0.62, 0.38, 0.28),
    (0.76, 0.70, 0.58),
    (0.52, 0.52, 0.54),
    (0.80, 0.78, 0.74),
    (0.48, 0.30, 0.24),
    (0.72, 0.60, 0.46),
    (0.58, 0.64, 0.66),
    (0.82, 0.72, 0.50),
    (0.66, 0.50, 0.46),
    (0.40, 0.42, 0.46),
    (0.70, 0.74, 0.66),
    (0.86, 0.82, 0.80),
]
AWNINGS = [
    (0.55, 0.12, 0.10),
    (0.12, 0.30, 0.22),
    (0.15, 0.22, 0.45),
    (0.75, 0.62, 0.25),
    (0.30, 0.30, 0.32),
    (0.60, 0.35, 0.15),
]


def paint_facade(rng: np.random.Generator) -> np.ndarray:
    """Returns an RGBA image (rows bottom first, sRGB values in 0..1)."""
    h, w = FLOORS * CELL, COLUMNS * CELL
    wall = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.85, 1.1)
    img = np.ones((h, w, 4), np.float32)
    img[..., 3] = 0.0
    img[..., :3] = wall * (1 + 0.05 * rng.standard_normal((h, w, 1)))
    trim = np.clip(wall * rng.choice((0.7, 1.25)), 0, 1)
    style = rng.choice(("grid", "ribbon", "tall"))
    px, py = {"grid": (5, 4), "ribbon": (1, 6), "tall": (6, 2)}[style]
    lit_share = rng.uniform(0.15, 0.5)
    for f in range(1, FLOORS):
        img[f * CELL : f * CELL + 2, :, :3] = trim
        for c in range(COLUMNS):
            _window(img, rng, f * CELL, c * CELL, px, py, trim, lit_share)
    _shops(img, rng, trim)
    img[..., :3] *= np.linspace(0.9, 1.0, h)[:, None, None]
    return np.clip(img, 0, 1)


def _window(
    img: np.ndarray, rng: np.random.Generator, y: int, x: int, px: int, py: int, trim: np.ndarray, lit_share: float
) -> None:
    y0, y1, x0, x1 = y + py, y + CELL - 3, x + px, x + CELL - px
    img[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1, :3] = np.clip(trim * 1.05, 0, 1)
    glass = np.array((0.20, 0.25, 0.30)) * rng.uniform(0.6, 1.5)
    img[y0:y1, x0:x1, :3] = glass * np.linspace(0.8, 1.25, y1 - y0)[:, None, None]
    if rng.random() < 0.3:
        drop = int(rng.integers(2, 8))
        img[y1 - drop : y1, x0:x1, :3] = (0.75, 0.72, 0.66)
    img[y0:y1, (x0 + x1) // 2, :3] = trim * 0.9
    if rng.random() < lit_share:
        img[y0:y1, x0:x1, 3] = rng.uniform(0.25, 1.0)


def _shops(img: np.ndarray, rng: np.random.Generator, trim: np.ndarray) -> None:
    img[:3, :, :3] = trim * 0.6
    x = 0
    while x < img.shape[1]:
        width = int(rng.integers(CELL, 2 * CELL))
        x1 = min(x + width, img.shape[1])
        img[3:13, x + 2 : x1 - 2, :3] = np.array((0.16, 0.19, 0.22)) * rng.uniform(0.7, 1.6)
        img[13:17, x + 1 : x1 - 1, :3] = AWNINGS[rng.integers(len(AWNINGS))]
        if rng.random() < 0.55:
            img[3:13, x + 2 : x1 - 2, 3] = rng.uniform(0.4, 1.0)
        if rng.random() < 0.4:
            img[3:12, x + 3 : x + 8, :3] = np.array((0.35, 0.22, 0.15)) * rng.uniform(0.5, 1.3)
        x = x1
