"""The critic stage: loss formulas, their gradients, and sharper images than the mean."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dg_project.config import PretrainLDMParams
from dg_project.pretraining.ldm.architecture import build_pipeline
from dg_project.pretraining.ldm.critic import Critic, Duel
from dg_project.pretraining.ldm.unet_training import Denoiser, PairBatch


@pytest.fixture
def duel(small: PretrainLDMParams) -> Duel:
    pipeline = build_pipeline(small, ["a night street", "a foggy street"])
    torch.manual_seed(0)
    return Duel(Denoiser(pipeline), Critic(4, 16, 8), pipeline.scheduler, 0.5).eval()


def batch() -> PairBatch:
    generator = torch.Generator().manual_seed(3)
    source, target = torch.randn(2, 6, 4, 8, 16, generator=generator)
    weights = torch.rand(6, 1, 8, 16, generator=generator)
    return PairBatch(source, target, weights, ["night", "fog", "", "night", "fog", "night"])


def test_duel_losses_match_formula(duel: Duel) -> None:
    pairs = batch()
    got = duel.losses(pairs, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    timesteps = torch.randint(1000, (6,), generator=generator)
    timesteps[2:] = 999
    noise = torch.randn(pairs.target.shape, generator=generator)
    assert torch.rand((), generator=generator) >= 0.25, "this step has no penalty"
    alpha = duel._scheduler.alphas_cumprod[timesteps][:, None, None, None]
    noisy = alpha.sqrt() * pairs.target + (1 - alpha).sqrt() * noise
    predicted, text = duel.denoiser.predict(noisy, pairs.source, timesteps, pairs.prompts)
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * pairs.target
    torch.testing.assert_close(got["loss_velocity"],
                               (pairs.weights * (predicted - velocity).square())[:2].mean() / 3)
    drawn, target = -predicted[2:].detach().requires_grad_(), pairs.target[2:]
    distance = ((pairs.weights[2:] * (drawn - target).abs()).mean()
                + F.avg_pool2d(drawn - target, 8).square().mean())
    torch.testing.assert_close(got["log_distance"], distance.detach())
    fake = duel.critic(drawn, pairs.source[2:], text[2:])
    real = duel.critic(target, pairs.source[2:], text[2:])
    torch.testing.assert_close(got["loss_critic"], F.softplus(-real).mean() + F.softplus(fake).mean())
    torch.testing.assert_close(got["log_doubt"], fake.sigmoid().mean().detach())
    towards, = torch.autograd.grad(distance, drawn, retain_graph=True)
    likely, = torch.autograd.grad(F.softplus(-fake).mean(), drawn)
    pull = towards + 0.5 * towards.norm() / likely.norm() * likely
    last = duel.denoiser.unet.conv_out.weight
    wanted, = torch.autograd.grad((-predicted[2:] * pull).sum(), last, retain_graph=True)
    found, = torch.autograd.grad(got["loss_drawn"], last)
    torch.testing.assert_close(found, wanted)


def test_duel_gradients_are_separate(duel: Duel) -> None:
    losses = duel.losses(batch(), torch.Generator().manual_seed(1))
    losses["loss_critic"].backward(retain_graph=True)
    assert all(p.grad is None for p in duel.denoiser.parameters())
    assert all(p.grad is not None for p in duel.critic.parameters())
    duel.critic.zero_grad()
    (losses["loss_drawn"] + losses["loss_velocity"]).backward()
    assert all(p.grad is None for p in duel.critic.parameters())
    for part in (duel.denoiser.unet, duel.denoiser.text_encoder):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_critic_gradient_penalty(duel: Duel) -> None:
    generator = torch.Generator().manual_seed(3)
    drawn, target, source = torch.randn(3, 4, 4, 8, 16, generator=generator)
    text, weights = torch.randn(4, 16, generator=generator), torch.ones(4, 1, 8, 16)
    free = duel._drawn(drawn, target, source, text, weights, False)["loss_critic"]
    paid = duel._drawn(drawn, target, source, text, weights, True)["loss_critic"]
    real = target.clone().requires_grad_()
    slope, = torch.autograd.grad(duel.critic(real, source, text).sum(), real)
    torch.testing.assert_close(paid - free, 0.002 / 0.25 / 2 * slope.square().sum((1, 2, 3)).mean())


def test_critic_avoids_the_mean() -> None:
    """Targets are +1 or -1 everywhere, by chance: the distance alone draws 0, the critic's pull leaves it."""
    critic, sign = Critic(1, 4, 16), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    drawn = torch.nn.Parameter(0.1 * torch.randn(8, 1, 8, 8))
    both = torch.optim.Adam([{"params": [drawn], "lr": 0.02}, {"params": critic.parameters(), "lr": 2e-3}],
                            betas=(0.5, 0.99))
    duel = Duel(torch.nn.Identity(), critic, None, 2.0)
    for _ in range(150):
        target = (torch.randint(2, (8, 1, 1, 1), generator=sign) * 2.0 - 1).expand(8, 1, 8, 8)
        losses = duel._drawn(drawn, target, torch.zeros_like(target), torch.zeros(8, 4), torch.ones_like(target), False)
        both.zero_grad()
        (losses["loss_drawn"] + losses["loss_critic"]).backward()
        both.step()
    assert float(drawn.detach().abs().mean()) > 0.5
