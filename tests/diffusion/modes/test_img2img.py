"""Image to image: the formula of SDEdit with DDIM, whether the U-Net predicts noise or velocities."""

from __future__ import annotations

import pytest
import torch
from diffusion.modes.helpers import Decoded, make, opened, scene, sdedit


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize(("name", "velocity"), [("tiny_img2img", False), ("tiny_v_prediction", True)])
def test_img2img_matches_sdedit(
    request: pytest.FixtureRequest, name: str, velocity: bool, guidance_scale: float
) -> None:
    generator = opened(request.getfixturevalue(name), mode="img2img", scheduler="DDIMScheduler")
    decoded = Decoded(generator)
    make(generator, prompt="night", seed=7, steps=4, strength=0.75, guidance_scale=guidance_scale)
    expected = sdedit(generator, scene(0), "night", 7, velocity=velocity, steps=4, run=3,
                      guidance_scale=guidance_scale)
    torch.testing.assert_close(decoded.latents, expected, rtol=1e-4, atol=1e-4)
