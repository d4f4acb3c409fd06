"""DDIM inversion: the formula, and that it keeps the source where nothing else is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusion.modes.helpers import ALPHAS, Decoded, latents_of, make, opened, said, same, scene

from dg_project.diffusion.modes import ModeInputs, Sampling


def change(checkpoint: Path, steps: int) -> tuple[float, float]:
    """How far the latents of an inversion and of img2img, asked for what the source shows, are from the source's."""
    distances = []
    for mode in ("inversion", "img2img"):
        generator = opened(checkpoint, mode=mode, inversion={"source_prompt": "a street"}, scheduler="DDIMScheduler")
        decoded = Decoded(generator)
        make(generator, prompt="a street", steps=steps, strength=0.3)
        distances.append(float((decoded.latents - latents_of(generator, scene(0))).abs().mean()))
    return distances[0], distances[1]


@pytest.mark.parametrize("name", ["tiny_img2img", "tiny_v_prediction"])
def test_with_the_sources_own_prompt_the_source_comes_back(request: pytest.FixtureRequest, name: str) -> None:
    checkpoint = request.getfixturevalue(name)
    few, _ = change(checkpoint, 20)
    many, img2img = change(checkpoint, 80)
    assert many < 0.5 * few  # the error of one step is of first order: a quarter would be its limit
    assert many < 0.05 * img2img


@pytest.mark.parametrize(("name", "velocity"), [("tiny_img2img", False), ("tiny_v_prediction", True)])
def test_the_inversion_is_the_formula_of_ddim_upwards(
    request: pytest.FixtureRequest, name: str, velocity: bool
) -> None:
    checkpoint, image = request.getfixturevalue(name), scene(0)
    generator = opened(checkpoint, mode="inversion", inversion={"source_prompt": "a street"})
    batch = ModeInputs([image], ["night"], [torch.Generator()], [np.zeros((0, 4))], [None])
    got = generator.mode.invert(batch, Sampling(strength=0.5, steps=10))
    latents, before = latents_of(generator, image), ALPHAS[0]
    for t in range(1, 1 + 5 * 100, 100):  # five of ten steps, offset by one as in Stable Diffusion
        clean, noise = said(generator, latents, t, "a street", before, velocity=velocity)
        before = ALPHAS[t]
        latents = before.sqrt() * clean + (1 - before).sqrt() * noise
    torch.testing.assert_close(got, latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_seeds_matter_only_where_fresh_noise_is_asked_for(tiny_img2img: Path, eta: float) -> None:
    generator = opened(tiny_img2img, mode="inversion", inversion={"eta": eta})
    assert same(make(generator, seed=0), make(generator, seed=1)) == (eta == 0)


def test_the_pipelines_own_scheduler_is_back_afterwards(tiny_img2img: Path) -> None:
    generator = opened(tiny_img2img, mode="inversion")
    own = generator.pipeline.scheduler
    make(generator)
    assert generator.pipeline.scheduler is own
