"""MODE: the search raises the loss inside the box of weights, mixtures equal a few lines."""

from __future__ import annotations

import pytest
import torch

from dg_project.methods.mode import convex, explore, mix_amplitudes, mix_statistics

IMAGES = torch.rand(3, 3, 8, 10, generator=torch.Generator().manual_seed(0))
BANK = torch.tensor([[0, 1], [1, 1], [2, 0]])
WEIGHTS = torch.tensor([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])


def test_the_search_is_ten_clipped_sign_steps() -> None:
    slope = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    found = explore(lambda w: (w * slope).sum(), torch.full((2, 2), 0.25), 10, 0.05)
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.0], [0.25, 0.75]]), atol=1e-5, rtol=0)
    far = explore(lambda w: (w * slope).sum(), torch.full((2, 2), 0.9), 10, 0.05)
    assert far.max() == 1
    assert not found.requires_grad


def test_weights_become_convex() -> None:
    torch.testing.assert_close(convex(torch.tensor([[0.2, 0.6]])), torch.tensor([[0.25, 0.75]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mix", [mix_amplitudes, mix_statistics])
def test_mixtures_equal_the_reference(mix) -> None:
    found = mix(IMAGES, BANK, WEIGHTS)
    for n, image in enumerate(IMAGES):
        styles = IMAGES[BANK[n]]
        if mix is mix_amplitudes:
            amplitude = sum(w * torch.fft.fft2(s).abs() for w, s in zip(WEIGHTS[n], styles, strict=True))
            expected = torch.fft.ifft2(amplitude * torch.exp(1j * torch.fft.fft2(image).angle())).real
        else:
            mean, deviation = styles.mean((2, 3)), (styles.var((2, 3)) + 1e-5).sqrt()
            own = (image - image.mean((1, 2), keepdim=True)) / (image.var((1, 2), keepdim=True) + 1e-5).sqrt()
            expected = own * (WEIGHTS[n] @ deviation)[:, None, None] + (WEIGHTS[n] @ mean)[:, None, None]
        torch.testing.assert_close(found[n], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[2], IMAGES[2], atol=1e-5, rtol=0)  # all weight on its own style
