"""Properties of every mode on every architecture it supports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.modes.helpers import make, opened, same, scene, trainids

from dg_project.diffusion.generator import Generator
from dg_project.diffusion.modes import MODES

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "instruct": ("tiny_ldm", {}),
    "instruct, sdxl": ("tiny_sdxl_instruct", {}),
    "img2img": ("tiny_img2img", {}),
    "img2img, v-prediction": ("tiny_v_prediction", {}),
    "img2img, sdxl": ("tiny_sdxl", {}),
    "controlnet": ("tiny_img2img", {"mode": "controlnet", "controlnet": {"checkpoint": "tiny_controlnet"}}),
    "controlnet, sdxl": ("tiny_sdxl", {"mode": "controlnet", "controlnet": {
        "checkpoint": "tiny_sdxl_controlnet", "condition": "segmentation"}}),
    "inpaint": ("tiny_img2img", {"mode": "inpaint"}),
    "inpaint, nine channels": ("tiny_inpaint", {}),
    "inpaint, sdxl": ("tiny_sdxl", {"mode": "inpaint"}),
    "inversion": ("tiny_img2img", {"mode": "inversion"}),
    "inversion, v-prediction": ("tiny_v_prediction", {"mode": "inversion"}),
    "inversion, sdxl": ("tiny_sdxl", {"mode": "inversion"}),
}
Cases = Callable[[str], Generator]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest) -> Cases:
    open_ones: dict[str, Generator] = {}

    def get(name: str) -> Generator:
        if name not in open_ones:
            checkpoint, options = CASES[name]
            if "controlnet" in options:
                beside = request.getfixturevalue(options["controlnet"]["checkpoint"])
                options = {**options, "controlnet": {**options["controlnet"], "checkpoint": str(beside)}}
            open_ones[name] = opened(request.getfixturevalue(checkpoint), **options)
        return open_ones[name]

    return get


def test_cases_cover_every_mode() -> None:
    assert {name.split(",")[0] for name in CASES} == set(MODES)


@pytest.mark.parametrize("name", CASES)
def test_mode_auto_or_named(case: Cases, name: str) -> None:
    assert case(name).mode.name == name.split(",")[0]


@pytest.mark.parametrize("name", CASES)
def test_batch_size_does_not_change_images(case: Cases, name: str) -> None:
    generator = case(name)
    images, prompts, seeds = [scene(i) for i in range(3)], ["a foggy street", "night", "dusk"], [5, 6, 7]
    boxes, masks = [[[4, 4, 16, 12]], [], [[0, 0, 9, 9], [20, 3, 40, 24]]], [trainids()] * 3
    options = {"steps": 4, "strength": 0.5, "guidance_scale": 3.0}
    together = generator.generate(images, prompts, seeds, boxes=boxes, masks=masks, **options)
    for i in range(3):
        one = slice(i, i + 1)
        alone = generator.generate(images[one], prompts[one], seeds[one], boxes=boxes[one], masks=masks[one], **options)
        assert same(alone[0], together[i])


@pytest.mark.parametrize("name", CASES)
def test_batched_images_close_to_single(
    case: Cases, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an accelerator, whose kernels may differ in the last bits with the size of the batch."""
    generator = case(name)
    images, boxes = [scene(i) for i in range(2)], [[[4, 4, 16, 12]], [[0, 0, 9, 9], [20, 3, 40, 24]]]
    given = {"boxes": boxes, "masks": [trainids()] * 2, "steps": 4, "strength": 0.5, "guidance_scale": 3.0}
    alone = generator.generate(images, ["fog", "night"], [5, 6], **given)
    monkeypatch.setattr(generator, "device", torch.device("cuda"))
    together = generator.generate(images, ["fog", "night"], [5, 6], **given)
    assert len(together) == 2
    for one, other in zip(alone, together, strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 2


@pytest.mark.parametrize("name", CASES)
def test_source_prompt_and_seed_change_image(case: Cases, name: str) -> None:
    generator = case(name)
    base = make(generator)
    assert same(base, make(generator))
    assert not same(base, make(generator, prompt="fog"))
    assert not same(base, make(generator, scene(1)))
    drawn = not same(base, make(generator, seed=1))
    assert drawn == (generator.mode.name != "inversion")


@pytest.mark.parametrize("name", CASES)
def test_image_size_is_kept(case: Cases, name: str) -> None:
    assert make(case(name), scene(3, 41, 27), masks=[trainids(41, 27)], strength=1.0, steps=2).size == (41, 27)


@pytest.mark.parametrize("name", ["img2img, sdxl", "controlnet", "inpaint", "inversion, sdxl"])
def test_guidance_and_negative_prompt(case: Cases, name: str) -> None:
    plain, guided, away = (make(case(name), guidance_scale=g, negative_prompt=n)
                           for g, n in ((1.0, ""), (6.0, ""), (6.0, "people")))
    assert not same(plain, guided)
    assert not same(guided, away)
