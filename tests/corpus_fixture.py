"""A captioned corpus of a few tiny scenes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

CAPTIONS = {"clear": "a city street on a clear sunny day", "w0": "a city street at night",
            "w1": "a city street in fog"}


def build_corpus(folder: Path, scenes: int = 4) -> None:
    """Draw scenes with one car each, in daylight, at night and in fog."""
    boxes, rows = {}, [["file", "group", "caption"]]
    for number in range(scenes):
        day = np.random.default_rng(number).normal(170, 4, (64, 96, 3))
        x = 10 + 12 * (number % 4)
        day[30:50, x:x + 24] = (200, 40, 40)
        name = f"s{number:04d}_c0"
        (folder / name).mkdir(parents=True)
        for file, frame in {"clear": day, "w0": day * 0.15, "w1": 200 + 0.2 * (day - 200)}.items():
            Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(folder / name / f"{file}.jpg", quality=95)
            rows.append([f"{name}/{file}.jpg", name, CAPTIONS[file]])
        boxes[name] = [[x, 30, x + 24, 50, "car"]]
    with (folder / "captions.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    (folder / "boxes.json").write_text(json.dumps(boxes))
