"""Linear initialisation of the autoencoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from dg_project.config import PretrainLDMParams
from dg_project.pretraining.ldm.architecture import build_vae
from dg_project.pretraining.ldm.corpus import read_corpus
from dg_project.pretraining.ldm.linear_start import LinearAutoencoder, fit, principal_blocks, start_linear, write_into
from dg_project.pretraining.ldm.vae_training import decode, encode, psnr


@pytest.fixture
def frames(corpus: Path) -> Tensor:
    return torch.cat([group.frames for group in read_corpus(corpus)])


def test_write_into_matches_linear(frames: Tensor) -> None:
    torch.manual_seed(0)
    images = frames / 127.5 - 1
    linear, vae = LinearAutoencoder(4, 6, (24, 24, 4)), build_vae((12, 48, 24), 4)
    linear.block.weight.data.copy_(principal_blocks(images, 6)[:, :, None, None])
    write_into(linear, vae, images)
    with torch.no_grad():
        latents = vae.encode(images).latent_dist
        expected = linear.analysis(linear.signals(images))
        torch.testing.assert_close(latents.mode(), expected, atol=0.02 * float(expected.std()), rtol=0.02)
        assert latents.std.max() < 0.05
        returned = vae.decode(expected).sample
        wanted = linear.synthesis(linear.decode_signals(expected))
    torch.testing.assert_close(returned, wanted, atol=0.02 * float(wanted.std()), rtol=0.02)


def test_principal_blocks_reconstruct(frames: Tensor) -> None:
    images = frames / 127.5 - 1
    basis = principal_blocks(images, 48)
    torch.testing.assert_close(basis @ basis.T, torch.eye(48), atol=1e-4, rtol=0)
    blocks = F.pixel_unshuffle(images, 4).permute(0, 2, 3, 1).reshape(-1, 48)
    spread = ((blocks - blocks.mean(0)) @ basis.T).var(0)
    assert (spread.diff() <= 1e-5).all()


def test_fit_lowers_error(frames: Tensor) -> None:
    torch.manual_seed(0)
    images = frames / 127.5 - 1
    linear = LinearAutoencoder(4, 8, (16, 16, 4))
    fit(linear, lambda step: images, 2)
    before = float((linear(images) - images).detach().square().mean())
    fit(linear, lambda step: images, 60)
    assert float((linear(images) - images).detach().square().mean()) < 0.5 * before


def test_start_linear_psnr(frames: Tensor) -> None:
    torch.manual_seed(0)
    vae, images = build_vae((24, 48, 96), 8), frames / 127.5 - 1
    assert psnr(decode(vae, encode(vae, frames)), frames) < 15
    start_linear(vae, lambda step: images, 80, seed=0)
    assert psnr(decode(vae, encode(vae, frames)), frames) > 20


def test_too_small_widths_error() -> None:
    with pytest.raises(ValidationError, match=r"vae_channels .* at least 12, 48 and"):
        PretrainLDMParams(vae_channels=(8, 48, 96))
