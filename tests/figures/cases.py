"""A small synthetic run: manifests with images, predictions, histories, pseudo images, records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from evaluation.helpers import CLASSES, WEATHERS, records
from PIL import Image, ImageDraw, ImageFilter

from dg_project.data.manifest import NO_MASKS

SIZE = (240, 144)
LIGHT = {"daytime_clear": (1.0, 0.0), "night_clear": (0.25, 0.0), "dusk_rainy": (0.55, 0.15),
         "night_rainy": (0.2, 0.1), "daytime_foggy": (0.5, 0.5)}


def scene(seed: int, light: float, fog: float) -> tuple[Image.Image, list[list[float]], list[int]]:
    """Return a street of boxes in one weather; the layout depends only on the seed."""
    generator = np.random.default_rng(seed)
    image = Image.new("RGB", SIZE, (150, 190, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 70, *SIZE], fill=(110, 110, 115))
    boxes, labels = [], []
    for _ in range(generator.integers(3, 7)):
        w, h = generator.integers(14, 52), generator.integers(14, 34)
        x, y = generator.integers(0, SIZE[0] - w), generator.integers(55, SIZE[1] - h)
        draw.rectangle([x, y, x + w, y + h], fill=tuple(int(v) for v in generator.integers(30, 230, 3)))
        boxes.append([float(x), float(y), float(x + w), float(y + h)])
        labels.append(int(generator.integers(1, 8)))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), float) * light
    return Image.fromarray((pixels * (1 - fog) + 205 * fog).clip(0, 255).astype(np.uint8)), boxes, labels


def street_manifest(root: Path, n: int = 6, domains: dict[str, tuple[float, float]] | None = None,
                    role: str = "target", split: str = "test") -> pd.DataFrame:
    rows = []
    for domain, weather in (domains or LIGHT).items():
        for k in range(n):
            image, boxes, labels = scene(k, *weather)
            path = Path(domain) / f"{k:04d}.png"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            image.save(root / path)
            rows.append({"image_id": f"{k:04d}", "domain": domain, "split": split,
                         "role": "source" if domain == "daytime_clear" else role, "image": path.as_posix(),
                         "width": SIZE[0], "height": SIZE[1], "boxes": boxes, "labels": labels,
                         "difficult": [j == 0 and k % 3 == 0 for j in range(len(boxes))], "sha256": "", **NO_MASKS})
    return pd.DataFrame(rows)


def street_predictions(manifest: pd.DataFrame, skill: float, seed: int = 0) -> pd.DataFrame:
    """Return detections: each box is found with a probability that falls with darkness, moved a little."""
    generator = np.random.default_rng(seed)
    rows = []
    for row in manifest.to_dict("records"):
        light, fog = LIGHT.get(row["domain"], (0.5, 0.2))
        found = [(b, k) for b, k in zip(row["boxes"], row["labels"], strict=True)
                 if generator.random() < skill * (0.4 + 0.6 * light) * (1 - 0.4 * fog)]
        boxes = [(np.asarray(b) + generator.normal(0, 2, 4)).tolist() for b, _ in found] + [[5.0, 60.0, 30.0, 90.0]]
        rows.append({"domain": row["domain"], "image_id": row["image_id"], "boxes": boxes,
                     "labels": [k for _, k in found] + [3],
                     "scores": [*generator.uniform(0.4, 1, len(found)).tolist(), float(generator.uniform(0, 0.7))]})
    return pd.DataFrame(rows)


def pseudo_manifest(root: Path, source: pd.DataFrame) -> pd.DataFrame:
    rows = street_manifest(root, len(source), {"night": LIGHT["night_clear"], "rain": LIGHT["dusk_rainy"],
                                               "fog": (0.4, 0.85)}, "pseudo", "train")
    rows["source_image_id"] = rows["image_id"]
    rows["kept"] = [not (d == "fog" and int(i) % 3 == 2) for d, i in zip(rows["domain"], rows["image_id"], strict=True)]
    rows["weight"] = np.where(rows["kept"], np.where(rows["domain"] == "rain", 0.67, 1.0), 0.0)
    rows["reason"] = np.where(rows["kept"], "", "2 of 6 boxes still visible (33 %), below 40 %")
    return rows


def history(steps: int, seed: int, names: tuple[str, ...]) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    step = np.arange(steps)
    losses = {name: (0.3 + 1.2 * np.exp(-step / 60)) * (1 + generator.normal(0, 0.18, steps)) / (k + 1)
              for k, name in enumerate(names)}
    return pd.DataFrame({"step": step, **losses, "lr": 2e-3 * (1 + np.cos(np.pi * step / steps)) / 2, "seconds": 0.5})


def benchmark_records() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    level = {"erm": 0.0, "mixstyle": 0.02, "naive": -0.01, "drsf": 0.055}
    base = dict(zip(WEATHERS, [0.72, 0.43, 0.35, 0.26, 0.57], strict=True))
    return records({m: {s: {d: v + (gain if d != "daytime_clear" else 0) + float(generator.normal(0, 0.015))
                            for d, v in base.items()} for s in (0, 1, 2)} for m, gain in level.items()})


__all__ = ["CLASSES", "WEATHERS", "benchmark_records", "history", "pseudo_manifest", "street_manifest",
           "street_predictions"]
