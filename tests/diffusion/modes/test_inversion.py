"""DDIM inversion: the formula, and reconstruction of the source with its own prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusion.modes.helpers import ALPHAS, Decoded, denoise, latents_of, make, opened, same, scene

from dg_project.diffusion.modes import ModeInputs, Sampling


def change(checkpoint: Path, steps: int) -> tuple[float, float]:
    """Return the distance of inverted and of img2img latents from the source's, with the source's own prompt."""
    distances = []
    for mode in ("inversion", "img2img"):
        generator = opened(checkpoint, mode=mode, inversion={"source_prompt": "a street"}, scheduler="DDIMScheduler")
        decoded = Decoded(generator)
        make(generator, prompt="a street", steps=steps, strength=0.3)
        distances.append(float((decoded.latents - latents_of(generator, scene(0))).abs().mean()))
    return distances[0], distances[1]


@pytest.mark.parametrize("name", ["tiny_img2img", "tiny_v_prediction"])
def test_inversion_reconstructs_source(request: pytest.FixtureRequest, name: str) -> None:
    checkpoint = request.getfixturevalue(name)
    few, _ = change(checkpoint, 20)
    many, img2img = change(checkpoint, 80)
    assert many < 0.5 * few  # the error of one step is of first order: a quarter would be its limit
    assert many < 0.05 * img2img


@pytest.mark.parametrize(("name", "velocity"), [("tiny_img2img", False), ("tiny_v_prediction", True)])
def test_inversion_matches_ddim(
    request: pytest.FixtureRequest, name: str, velocity: bool
) -> None:
    checkpoint, image = request.getfixturevalue(name), scene(0)
    generator = opened(checkpoint, mode="inversion", inversion={"source_prompt": "a street"})
    batch = ModeInputs([image], ["night"], [torch.Generator()], [np.zeros((0, 4))], [None])
    got = generator.mode.invert(batch, Sampling(strength=0.5, steps=10))
    latents, before = latents_of(generator, image), ALPHAS[0]
    for t in range(1, 1 + 5 * 100, 100):  # five of ten steps, offset by one as in Stable Diffusion
        clean, noise = denoise(generator, latents, t, "a street", before, velocity=velocity)
        before = ALPHAS[t]
        latents = before.sqrt() * clean + (1 - before).sqrt() * noise
    torch.testing.assert_close(got, latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_inversion_seed_matters_only_with_eta(tiny_img2img: Path, eta: float) -> None:
    generator = opened(tiny_img2img, mode="inversion", inversion={"eta": eta})
    assert same(make(generator, seed=0), make(generator, seed=1)) == (eta == 0)


def test_inversion_restores_scheduler(tiny_img2img: Path) -> None:
    generator = opened(tiny_img2img, mode="inversion")
    own = generator.pipeline.scheduler
    make(generator)
    assert generator.pipeline.scheduler is own
