"""A small generated five-domain data set in the layout of the real one."""

from __future__ import annotations

import shutil
from functools import cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from dg_project.core.files import file_hash

CLASSES = ["bus", "bike", "car", "motor", "person", "rider", "truck"]
SOURCE = "daytime_clear"
TARGETS = ["night_clear", "dusk_rainy", "night_rainy", "daytime_foggy"]
HEIGHT, WIDTH = 64, 96
ROAD, SKY = 0, 10
TRAIN_IDS = {"bus": 15, "bike": 18, "car": 13, "motor": 17, "person": 11, "rider": 12, "truck": 14}
COLOURS = np.array([[230, 190, 40], [40, 200, 90], [200, 40, 40], [160, 60, 200], [240, 130, 180], [40, 90, 220],
                    [240, 240, 240]], np.float32)


def weather(image: np.ndarray, domain: str) -> np.ndarray:
    """Return the clear (H, W, 3) image, 0..255, as it appears in ``domain``."""
    day = image.astype(np.float32)
    night = 255 * (day / 255) ** 2 * np.array([0.35, 0.4, 0.6], np.float32)
    seen = {
        SOURCE: day,
        "night_clear": night,
        "dusk_rainy": day * np.array([0.55, 0.5, 0.6], np.float32) + 20,
        "night_rainy": 0.7 * night + 12,
        "daytime_foggy": 0.45 * day + 0.55 * 210,
    }[domain]
    return seen.clip(0, 255).astype(np.uint8)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, list[tuple[str, tuple[int, int, int, int], bool]]]:
    """Draw one scene: image (H, W, 3) uint8, mask (H, W) uint8, objects (class, 0-based exclusive xyxy, difficult)."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(200, 90, HEIGHT, dtype=np.float32)[:, None, None]
    image = ramp + np.linspace(-15, 15, WIDTH, dtype=np.float32)[None, :, None] + rng.normal(0, 2, (HEIGHT, WIDTH, 3))
    mask = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    mask[: HEIGHT // 3] = SKY
    objects = []
    for slot in range(int(rng.integers(2, 4))):
        index = int(rng.integers(len(CLASSES)))
        w, h = int(rng.integers(14, 26)), int(rng.integers(14, 30))
        x0, y0 = slot * 32 + int(rng.integers(0, 32 - w)), int(rng.integers(HEIGHT // 4, HEIGHT - h))
        image[y0:y0 + h, x0:x0 + w] = COLOURS[index]
        image[y0 + h // 4:y0 + h // 2, x0 + w // 4:x0 + w - w // 4] = COLOURS[index] * 0.3
        mask[y0:y0 + h, x0:x0 + w] = TRAIN_IDS[CLASSES[index]]
        objects.append((CLASSES[index], (x0, y0, x0 + w, y0 + h), bool(slot == 2)))
    return image.clip(0, 255).astype(np.uint8), mask, objects


def index_map(objects: list[tuple[str, tuple[int, int, int, int], bool]]) -> np.ndarray:
    """Return (H, W) uint8: k at the k-th object, 0 elsewhere."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    for k, (_, (x0, y0, x1, y1), _) in enumerate(objects, start=1):
        values[y0:y1, x0:x1] = k
    return values


def annotation(name: str, objects: list[tuple[str, tuple[int, int, int, int], bool]]) -> str:
    """Return the VOC XML of one image: 1-based inclusive boxes."""
    body = "".join(
        f"<object><name>{label}</name><difficult>{int(difficult)}</difficult><bndbox><xmin>{x0 + 1}</xmin>"
        f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, (x0, y0, x1, y1), difficult in objects)
    return (f"<annotation><filename>{name}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height>"
            f"<depth>3</depth></size>{body}</annotation>")


def build_tiny_streets(root: Path, train: int = 8, val: int = 4, test: int = 4, adapt: int = 3) -> Path:
    """Write five domains below ``root``: train and val only in the source, the same test scenes in every domain.

    The targets have further scenes in ``adapt``. A process draws them once and then copies.
    """
    return Path(shutil.copytree(Path(_drawn(train, val, test, adapt).name), root, dirs_exist_ok=True))


@cache
def _drawn(train: int, val: int, test: int, adapt: int) -> TemporaryDirectory[str]:
    drawn = TemporaryDirectory()
    root = Path(drawn.name)
    splits = {"train": [f"train_{i:03d}" for i in range(train)], "val": [f"val_{i:03d}" for i in range(val)],
              "test": [f"test_{i:03d}" for i in range(test)]}
    unlabelled = {"adapt": [f"adapt_{i:03d}" for i in range(adapt)]}
    seeds = {name: seed for seed, name in enumerate(chain(*splits.values(), *unlabelled.values()))}
    for domain in [SOURCE, *TARGETS]:
        voc = root / domain / "VOC2007"
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "SegmentationClass", "SegmentationObject"):
            (voc / folder).mkdir(parents=True)
        for split, names in (splits if domain == SOURCE else {"test": splits["test"], **unlabelled}).items():
            (voc / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
            for name in names:
                image, mask, objects = scene(seeds[name])
                Image.fromarray(weather(image, domain)).save(voc / "JPEGImages" / f"{name}.jpg", quality=95)
                Image.fromarray(mask).save(voc / "SegmentationClass" / f"{name}.png")
                Image.fromarray(index_map(objects)).save(voc / "SegmentationObject" / f"{name}.png")
                (voc / "Annotations" / f"{name}.xml").write_text(annotation(name, objects))
    return drawn


def build_tiny_pseudo(root: Path, source_root: Path, source_rows: list[dict], domains: dict[str, str]) -> list[dict]:
    """Write one pseudo image per source row and pseudo domain (name -> weather to imitate) and return manifest rows."""
    rows = []
    for domain, looks_like in domains.items():
        (root / domain).mkdir(parents=True, exist_ok=True)
        for row in source_rows:
            image = np.asarray(Image.open(source_root / row["image"]).convert("RGB"))
            path = f"{domain}/{row['image_id']}_0.png"
            Image.fromarray(weather(image, looks_like)).save(root / path)
            rows.append({**row, "domain": domain, "role": "pseudo", "image": path,
                         "sha256": file_hash(root / path), "source_image_id": row["image_id"], "candidate": 0,
                         "prompt": f"a street, {domain}", "strength": 0.8, "guidance_scale": 1.0, "steps": 1,
                         "seed": 0, "model": "generated", "ldm_seconds": 0.5, "weight": 1.0, "kept": True,
                         "reason": ""})
    return rows
