"""Synthesis jobs: sharding, folder sizes, card contents, eligible source images."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from dg_project.config import LDMParams, PseudoDomain, VocabularyParams
from dg_project.core.errors import DataError
from dg_project.pseudo.generators.diffusion import DiffusionGenerator
from dg_project.pseudo.synthesis import FOLDER_SIZE, Jobs, eligible

DOMAINS = {"fog": PseudoDomain(prompt="a {foggy|misty} street"), "any": PseudoDomain(vocabulary=VocabularyParams())}


def manifest(images: int, boxes: list[int] | None = None) -> pd.DataFrame:
    counts = boxes or [1] * images
    return pd.DataFrame([{
        "image_id": f"s{i}", "domain": "day", "role": "source", "split": "train", "image": f"{i}.png", "width": 40,
        "height": 24, "boxes": [[2.0, 3.0, 12.0, 15.0]] * counts[i], "labels": [2] * counts[i],
        "difficult": [False] * counts[i], "mask": "", "sha256": f"{i:064x}"} for i in range(images)])


def jobs(images: int = 5, shard: str | None = None, **ldm: Any) -> Jobs:
    params = LDMParams(**{"checkpoint": "none", "mode": "img2img", **ldm})
    model: Any = SimpleNamespace(fingerprint="model")
    generator = DiffusionGenerator(model, params, Path("nowhere"), ["bus", "car"])
    return Jobs(manifest(images), DOMAINS, generator, 2, 0, shard)


def test_shards_partition_jobs() -> None:
    whole = {job.image: job.card for job in jobs(7)}
    parts = [list(jobs(7, f"{i}/3")) for i in (1, 2, 3)]
    assert len(whole) == len(jobs(7)) == 7 * 2 * 2
    assert [len(part) for part in parts] == [len(jobs(7, f"{i}/3")) for i in (1, 2, 3)] == [12, 8, 8]
    assert {job.image: job.card for part in parts for job in part} == whole
    sources = [{job.card["source_image_id"] for job in part} for part in parts]
    assert sources == [{"s0", "s3", "s6"}, {"s1", "s4"}, {"s2", "s5"}]


def test_more_shards_than_images() -> None:
    assert list(jobs(2, "3/3")) == []
    assert len(jobs(2, "3/3")) == 0


def test_folder_size_limit() -> None:
    folders = Counter(str(Path(job.image).parent) for job in jobs(2 * FOLDER_SIZE + 3))
    assert set(folders) == {f"{name}{part}" for name in DOMAINS for part in ("", "/0001", "/0002")}
    assert max(folders.values()) == 2 * FOLDER_SIZE
    assert folders["fog/0002"] == 2 * 3
    few = {job.image for job in jobs(3)}
    assert few < {job.image for job in jobs(FOLDER_SIZE + 1)}, "an image keeps its place when the set grows"


def test_vocabulary_uses_classes_of_image() -> None:
    prompts = {job.card["prompt"] for job in jobs() if job.card["domain"] == "any"}
    assert len(prompts) > 1
    assert all(" A car is " in prompt for prompt in prompts)


def test_card_contents() -> None:
    card = next(iter(jobs())).card
    assert json.loads(json.dumps(card)) == card
    assert {"source_image_id", "candidate", "prompt", "strength", "seed", "model", "domain", "source_sha256", "mode",
            "dtype", "scheduler", "scheduler_options", "steps", "guidance_scale", "image_guidance_scale",
            "negative_prompt", "resolution", "loras", "vae_tiling"} == set(card)


@pytest.mark.parametrize(("one", "other"), [
    ({}, {"steps": 7}),
    ({}, {"scheduler_options": {"timestep_spacing": "trailing"}}),
    ({}, {"resolution": 512}),
    ({}, {"memory": {"vae_tiling": True}}),
    ({"loras": [{"weights": "a", "scale": 1}]}, {"loras": [{"weights": "a", "scale": 2}]}),
    ({"mode": "inpaint"}, {"mode": "inpaint", "inpaint": {"box_strength": 0}}),
    ({"mode": "inversion"}, {"mode": "inversion", "inversion": {"eta": 0.5}}),
    ({"mode": "controlnet"}, {"mode": "controlnet", "controlnet": {"scale": 0.5}}),
])
def test_card_changes_with_image_params(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert next(iter(jobs(**one))).card != next(iter(jobs(**other))).card


@pytest.mark.parametrize("other", [
    {"batch_size": 1}, {"checkpoint": "elsewhere"}, {"inpaint": {"box_strength": 0}}, {"variant": "fp16"},
    {"memory": {"offload": "model", "attention_slicing": True, "vae_slicing": True}},
])
def test_card_ignores_speed_params(other: dict[str, Any]) -> None:
    assert next(iter(jobs())).card == next(iter(jobs(**other))).card


def test_card_has_boxes_if_protected() -> None:
    assert next(iter(jobs(mode="inpaint"))).card["boxes"] == [[2.0, 3.0, 12.0, 15.0]]


def test_eligible_box_bounds() -> None:
    source = manifest(6, [0, 1, 16, 3, 15, 2])
    assert list(eligible(source, 0, None, None)["image_id"]) == [f"s{i}" for i in range(6)]
    assert list(eligible(source, 1, 15, None)["image_id"]) == ["s1", "s3", "s4", "s5"]
    assert list(eligible(source, 1, 15, 2)["image_id"]) == ["s1", "s3"]
    with pytest.raises(DataError, match="none of 6 source training images has between 20 and any number of boxes"):
        eligible(source, 20, None, None)
