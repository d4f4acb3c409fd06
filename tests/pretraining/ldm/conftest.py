"""A corpus of four small groups: coloured boxes by day, in fog and at night."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dg_project.config import PretrainLDMParams

HEIGHT, WIDTH = 32, 48
WEATHERS = {
    "clear": "a city street on a clear sunny day",
    "w0": "a city street at night, clear sky",
    "w1": "a city street during the day in fog",
}


def build_corpus(folder: Path, groups: int = 4) -> Path:
    rows, boxes = [], {}
    for g in range(groups):
        rng = np.random.default_rng(g)
        day = np.full((HEIGHT, WIDTH, 3), 170.0) + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
        x, y = int(rng.integers(0, WIDTH - 14)), int(rng.integers(0, HEIGHT - 12))
        day[y : y + 10, x : x + 12] = rng.integers(0, 255, 3)
        frames = {"clear": day, "w0": day * 0.15, "w1": 200 + 0.2 * (day - 200)}
        name = f"s{g:04d}_c0"
        (folder / name).mkdir(parents=True)
        for file, frame in frames.items():
            Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(folder / name / f"{file}.jpg", quality=95)
            rows.append([f"{name}/{file}.jpg", name, WEATHERS[file]])
        boxes[name] = [[x, y, x + 12, y + 10, "car"]]
    with (folder / "captions.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "group", "caption"], *rows])
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return build_corpus(tmp_path / "corpus")


@pytest.fixture
def small(corpus: Path) -> PretrainLDMParams:
    """Seconds-long sizes."""
    return PretrainLDMParams(
        corpus=str(corpus),
        vae_crop=(16, 16),
        crop=(16, 32),
        vae_channels=(12, 48, 16),
        linear_steps=4,
        unet_channels=[8, 16],
        text_dim=16,
        latent_channels=4,
        vae_steps=4,
        unet_steps=4,
        critic_steps=4,
        vae_batch_size=2,
        batch_size=2,
        checkpoint_every=2,
    )
