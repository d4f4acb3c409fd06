"""The embedded diffusion model from a captioned corpus to a folder that synthesis can open, in seconds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CAPTIONS = {"clear": "a city street on a clear sunny day", "w0": "a city street at night",
            "w1": "a city street in fog"}


def build_corpus(folder: Path, scenes: int = 4) -> None:
    """Draw scenes with one car each, by day, at night and in fog."""
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


def test_the_trained_model_makes_pseudo_domains(project: Any) -> None:
    build_corpus(project.root / "data/01_raw/streets_corpus")
    version = project.run("pretrain_ldm")
    folder = project.load("trained_ldm")
    assert (folder / "model_index.json").is_file()
    assert "oracle" in (folder / "README.md").read_text()
    assert [key for key in project.tracked(version).data.metrics if key.startswith("ldm/unet/loss")]
    project.run("ingestion", "synthesis", ldm={"checkpoint": str(folder.relative_to(project.root))},
                synthesis={"n_images": 1, "candidates": 1})
    assert len(project.load("candidate_manifest")) == 4
