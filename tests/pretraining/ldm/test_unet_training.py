"""Denoiser training: pairs of one scene, the velocity loss, a few steps that lower it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dg_project.config import PretrainLDMParams
from dg_project.pretraining.ldm.architecture import build_pipeline, build_vae
from dg_project.pretraining.ldm.corpus import read_corpus
from dg_project.pretraining.ldm.unet_training import (
    Denoiser,
    LatentGroup,
    PairBatch,
    denoising_loss,
    encode_corpus,
    pair_sampler,
)


def numbered_groups() -> list[LatentGroup]:
    """Latents that tell where they come from: 1000·group + 100·frame + column, mirrored in the second flip."""
    groups = []
    for g in range(3):
        frames = torch.arange(12.0).expand(1, 8, 12)[None] + 1000 * g + 100 * torch.arange(3)[:, None, None, None]
        both = torch.stack([frames, frames.flip(-1)], 1)
        weights = torch.arange(12.0).expand(8, 12)
        groups.append(
            LatentGroup(
                both[[0, 0]],
                both,
                ["clear", "night", "fog"],
                torch.stack([weights, weights.flip(-1)]),
                torch.tensor([[2.0, 2.0, 5.0, 5.0]]),
            )
        )
    return groups


def test_pair_sampler_same_cells() -> None:
    sample, seen = pair_sampler(numbered_groups(), (4, 6), 8), set()
    for step in range(40):
        batch = sample(torch.Generator().manual_seed(step))
        whole = batch.source.shape[-1] == 12
        assert batch.source.shape == ((2, 1, 8, 12) if whole else (8, 1, 4, 6))
        for source, target, weights, prompt in zip(
            batch.source, batch.target, batch.weights, batch.prompts, strict=True
        ):
            frame = (target - source).unique()
            assert len(frame) == 1, "the geometry must be the same"
            assert prompt in ("", {0.0: "clear", 100.0: "night", 200.0: "fog"}[float(frame)])
            torch.testing.assert_close(weights, source % 100)
            seen.add((float(frame), whole, bool(source[0, 0, 0] > source[0, 0, -1]), prompt == ""))
    assert {s[0] for s in seen} == {0.0, 100.0, 200.0}
    assert all({s[i] for s in seen} == {True, False} for i in (1, 2, 3)), (
        "whole frames, flips and dropped text all occur"
    )


def test_encode_corpus(corpus: Path) -> None:
    torch.manual_seed(0)
    groups = read_corpus(corpus)[:2]
    vae = build_vae([8, 8, 16], 4).eval()
    encoded = encode_corpus(vae, groups, 0)
    assert encoded[0].sources.shape == (2, 2, 4, 8, 12)
    assert encoded[0].targets.shape == (3, 2, 4, 8, 12)
    torch.testing.assert_close(encoded[0].boxes * 4, groups[0].boxes)
    torch.testing.assert_close(encoded[1].sources[0], encoded[1].targets[0])
    assert not torch.equal(encoded[1].sources[1], encoded[1].sources[0]), "the second source is another shade of day"
    again = encode_corpus(vae, groups, 0)
    assert torch.equal(again[1].sources, encoded[1].sources)


@pytest.fixture
def denoiser(small: PretrainLDMParams) -> tuple[Denoiser, object]:
    pipeline = build_pipeline(small, ["a night street", "a foggy street"])
    return Denoiser(pipeline), pipeline.scheduler


def batch() -> PairBatch:
    generator = torch.Generator().manual_seed(3)
    source, target = torch.randn(2, 4, 4, 8, 8, generator=generator)
    return PairBatch(source, target, torch.rand(4, 1, 8, 8, generator=generator), ["night", "fog", "", "night"])


def test_denoising_loss_matches_formula(denoiser: tuple) -> None:
    model, scheduler = denoiser
    model.eval()
    pairs = batch()
    got = denoising_loss(model, scheduler, pairs, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    timesteps = torch.randint(1000, (4,), generator=generator)
    timesteps[torch.rand(4, generator=generator) < 0.4] = 999
    noise = torch.randn(pairs.target.shape, generator=generator)
    alpha = scheduler.alphas_cumprod[timesteps][:, None, None, None]
    noisy = alpha.sqrt() * pairs.target + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * pairs.target
    error = (model(noisy, pairs.source, timesteps, pairs.prompts) - velocity).square()
    torch.testing.assert_close(got["loss_velocity"], (pairs.weights * error).mean())
    torch.testing.assert_close(got["log_unweighted"], error.mean())
    assert scheduler.alphas_cumprod[-1] == 0, "zero terminal SNR"


def test_training_lowers_loss(denoiser: tuple) -> None:
    model, scheduler = denoiser
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = denoising_loss(model, scheduler, batch(), torch.Generator().manual_seed(1))["loss_velocity"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    for part in (model.unet, model.text_encoder):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
