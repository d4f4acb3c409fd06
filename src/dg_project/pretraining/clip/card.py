"""Figures of a CLIP-like teacher on crops of held-out scenes, and its card."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pandas as pd

from dg_project.config import PretrainTeacherParams
from dg_project.config.applications import Weather
from dg_project.core.templates import open_template
from dg_project.data.dataset import ManifestDataset
from dg_project.vlm.base import Teacher, class_prompts

PROMPT = "this is a photo of a {class}"
WEATHER = ("night", "fog", "snow", "rain", "dusk")


def weather_of(caption: str) -> str:
    """Return the kind of weather in a caption, in one word.

    >>> weather_of("a city street at night in rain")
    'night'
    """
    return next((word for word in WEATHER if word in caption), "day")


def zero_shot(teacher: Teacher, rows: pd.DataFrame, images: ManifestDataset, classes: list[str]) -> dict[str, Any]:
    """Return zero-shot accuracy and number of crops by weather and over all crops (``all``)."""
    texts = teacher.texts(class_prompts(PROMPT, classes))
    correct: dict[str, list[bool]] = {}
    for i, (label, caption) in enumerate(zip(rows["labels"], rows["caption"], strict=True)):
        embedded = teacher.images([images[i][0].float() / 255])
        hit = int(teacher.logits(embedded, texts).argmax()) == int(label[0]) - 1
        for kind in (weather_of(caption), "all"):
            correct.setdefault(kind, []).append(hit)
    return {kind: {"accuracy": round(sum(hits) / len(hits), 4), "crops": len(hits)} for kind, hits in correct.items()}


def majority_share(rows: pd.DataFrame) -> float:
    """Return the share of the most frequent class."""
    counts = Counter(int(label[0]) for label in rows["labels"])
    return max(counts.values()) / len(rows)


def readme(params: PretrainTeacherParams, figures: dict[str, Any]) -> str:
    """Return the card for people."""
    card = open_template("dg_project.pretraining.clip", "card.md.j2", trim_blocks=False, lstrip_blocks=False)
    every = set(get_args(Weather)) == set(params.weathers)
    return card.render(figures, size=params.size, seed=params.seed, prompt=PROMPT, every_weather=every) + "\n"
