"""Image formation after the path tracer: depth fog, glow, rain, snow flakes, lens drops, tone curve and grading."""

from __future__ import annotations

import numpy as np
from lighting import lamp_colour, sky_colours
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter, map_coordinates
from weather import Weather


def finish(linear: np.ndarray, depth: np.ndarray, w: Weather) -> np.ndarray:
    """Linear radiance and depth in metres to an 8-bit image."""
    rng = np.random.default_rng(w.seed)
    img = np.clip(linear, 0, 60)
    img = _fog(img, depth, w)
    img = _glow(img, w)
    img = img * _gain(img, w)
    if w.rain:
        img = _streaks(img, depth, w, rng)
    if w.flakes:
        img = _flakes(img, w, rng)
    if w.drops:
        img = _drops(img, w, rng)
    return _grade(img, w, rng)


def _gain(img: np.ndarray, w: Weather) -> float:
    """The camera's exposure: by day it follows the scene's mean level half-way, at night it is fixed."""
    level = float(np.exp(np.log(img.mean(-1) + 1e-3).mean()))
    follow = float(np.clip((0.34 / level) ** 0.6, 0.7, 2.4)) ** (1 - w.darkness)
    return follow * 2.0 ** (w.exposure + 1.25 * w.darkness)


def _airlight(w: Weather) -> np.ndarray:
    zenith, horizon, _ = sky_colours(w)
    day = 0.35 * zenith + 0.65 * horizon
    return 0.68 * day + 0.02 * w.darkness * lamp_colour(w)


def _fog(img: np.ndarray, depth: np.ndarray, w: Weather) -> np.ndarray:
    beta = w.fog + 0.0012
    if w.fog == 0.0 and w.darkness > 0.5:
        return img
    t = gaussian_filter(np.exp(-beta * np.clip(depth, 0, 600)), 0.45)[..., None]
    return img * t + _airlight(w) * (1 - t)


def _glow(img: np.ndarray, w: Weather) -> np.ndarray:
    """Halo of bright lamps, wider in fog and rain."""
    bright = np.clip(img - 1.2, 0, 25)
    haze = min(1.0, 12 * w.fog + 0.35 * w.rain)
    out = img + 0.10 * _blur(bright, 1.6) + (0.05 + 0.25 * haze) * _blur(bright, 5.0)
    return out + 0.30 * haze * _blur(bright, 14.0)


def _blur(img: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(img, (sigma, sigma, 0))


def _streaks(img: np.ndarray, depth: np.ndarray, w: Weather, rng: np.random.Generator) -> np.ndarray:
    h, wd = depth.shape
    slant = rng.uniform(-0.25, 0.25)
    back = _blur(img, 8.0) * 1.25 + 0.05
    for length, width, count, alpha in ((9, 1, 330, 0.22), (20, 1, 150, 0.26), (36, 2, 26, 0.16)):
        layer = Image.new("L", (wd, h), 0)
        draw = ImageDraw.Draw(layer)
        for _ in range(int(count * w.rain)):
            x, y, k = rng.uniform(-20, wd + 20), rng.uniform(-30, h), rng.uniform(0.6, 1.3)
            draw.line([x, y, x + slant * length * k, y + length * k], fill=int(rng.uniform(70, 255)), width=width)
        a = np.asarray(layer.filter(ImageFilter.GaussianBlur(0.55)), np.float32)[..., None] / 255 * alpha * 2
        img = img * (1 - a) + back * a + 0.05 * a
    return img


def _flakes(img: np.ndarray, w: Weather, rng: np.random.Generator) -> np.ndarray:
    h, wd = img.shape[:2]
    layer = Image.new("L", (wd, h), 0)
    draw = ImageDraw.Draw(layer)
    for _ in range(int(420 * w.flakes)):
        x, y, r = rng.uniform(0, wd), rng.uniform(0, h), rng.choice((0.5, 0.7, 1.0, 1.6), p=(0.45, 0.3, 0.2, 0.05))
        draw.ellipse([x - r, y - r, x + r, y + r], fill=int(rng.uniform(120, 255)))
    a = np.asarray(layer.filter(ImageFilter.GaussianBlur(0.5)), np.float32)[..., None] / 255 * 0.75
    return img * (1 - a) + (_blur(img, 10.0) * 1.1 + 0.12) * a


def _drops(img: np.ndarray, w: Weather, rng: np.random.Generator) -> np.ndarray:
    """Each drop shows a small upside-down blurred view; the whole lens gets a little softer."""
    h, wd = img.shape[:2]
    img = _blur(img, 0.15 + 0.5 * w.drops)
    soft = _blur(img, 2.0)
    yy, xx = np.mgrid[0:h, 0:wd].astype(np.float32)
    for _ in range(int(22 * w.drops)):
        cx, cy, r = rng.uniform(0, wd), rng.uniform(0, h), rng.uniform(2.5, 8.0)
        d = np.hypot(xx - cx, (yy - cy) / rng.uniform(1.0, 1.4))
        a = (np.clip((r - d) / 1.5, 0, 1) * 0.75)[..., None]
        sy, sx = np.clip(cy - (yy - cy) * 4, 0, h - 1), np.clip(cx - (xx - cx) * 4, 0, wd - 1)
        y0, y1 = max(0, int(cy - 2 * r)), min(h, int(cy + 2 * r) + 1)
        x0, x1 = max(0, int(cx - 2 * r)), min(wd, int(cx + 2 * r) + 1)
        win = (slice(y0, y1), slice(x0, x1))
        lens = np.stack([map_coordinates(soft[..., c], (sy[win], sx[win]), order=1) for c in range(3)], -1)
        img[win] = img[win] * (1 - a[win]) + lens * 1.05 * a[win]
    return img


def _grade(img: np.ndarray, w: Weather, rng: np.random.Generator) -> np.ndarray:
    tint = np.array((1 + 0.10 * w.warmth, 1.0, 1 - 0.12 * w.warmth))
    x = np.clip(img * tint * 0.85, 0, None)
    x = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    x = np.clip(x, 0, 1) ** (1 / 2.2)
    grey = x.mean(-1, keepdims=True)
    x = grey + (x - grey) * w.saturation
    x = 0.5 + (x - 0.5) * w.contrast
    x = x + w.noise * (0.6 + 0.8 * np.sqrt(np.clip(x, 0, 1))) * rng.standard_normal(x.shape)
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)
