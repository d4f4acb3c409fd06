"""Losses of the autoencoder against a reference; normalised latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dg_project.pretraining.ldm.architecture import build_vae
from dg_project.pretraining.ldm.corpus import read_corpus
from dg_project.pretraining.ldm.vae_training import crop_sampler, decode, encode, normalise_latents, psnr, vae_losses


def test_vae_losses_match_formula() -> None:
    torch.manual_seed(0)
    vae, images = build_vae([8, 8], 4).eval(), torch.rand(2, 3, 8, 12) * 2 - 1
    weights = torch.rand(2, 1, 8, 12) + 0.5
    got = vae_losses(vae, images, weights, torch.Generator().manual_seed(1))
    posterior = vae.encode(images).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(1))
    error = vae.decode(posterior.mean + posterior.std * noise).sample - images
    down, right = error[:, :, 1:, :-1] - error[:, :, :-1, :-1], error[:, :, :-1, 1:] - error[:, :, :-1, :-1]
    inner = weights[..., :-1, :-1]
    torch.testing.assert_close(got["loss_l1"], (weights * error.abs()).mean())
    torch.testing.assert_close(got["loss_edges"], (inner * down.abs()).mean() + (inner * right.abs()).mean())
    colour = error - (error[:, :1] + error[:, 1:2] + error[:, 2:]) / 3
    torch.testing.assert_close(got["loss_colour"], 30 * (weights * colour.square()).mean())
    torch.testing.assert_close(got["loss_kl"], 1e-6 * posterior.kl().mean() / posterior.mean[0].numel())


def test_normalise_latents() -> None:
    torch.manual_seed(0)
    vae, images = build_vae([8, 8], 4).eval(), torch.randint(0, 255, (5, 3, 16, 16), dtype=torch.uint8)
    before = encode(vae, images)
    logvar = vae.encode(images[:1] / 127.5 - 1).latent_dist.logvar
    pictures = decode(vae, before)
    mean, std = normalise_latents(vae, images)
    after = encode(vae, images)
    torch.testing.assert_close(after, (before - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(after.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(after.std((0, 2, 3)), torch.ones(4), atol=1e-2, rtol=0)
    torch.testing.assert_close(
        vae.encode(images[:1] / 127.5 - 1).latent_dist.logvar,
        logvar - 2 * std.log()[:, None, None],
        atol=1e-5,
        rtol=1e-5,
    )
    assert (decode(vae, after).int() - pictures.int()).abs().max() <= 1


def test_crop_sampler(corpus: Path) -> None:
    groups = read_corpus(corpus)
    images, weights = crop_sampler(groups, (16, 24), 6)(torch.Generator().manual_seed(0))
    assert images.shape == (6, 3, 16, 24)
    assert weights.shape == (6, 1, 16, 24)
    assert images.min() >= -1
    assert images.max() <= 1
    assert set(weights.unique().tolist()) == {1.0, 3.0}


def test_psnr() -> None:
    a = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    assert psnr(a, a + 10) == pytest.approx(28.13, abs=0.01)
