"""The loss against its formula, and what a batch is drawn from."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from dg_project.pretraining.folder_ldm.denoiser import Captioned, caption_sampler, velocity_loss
from dg_project.pretraining.folder_ldm.pictures import Pictures
from dg_project.pretraining.ldm.architecture import build_scheduler


class Half(nn.Module):
    """Predicts half of what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, noisy: Tensor, timesteps: Tensor, captions: list[str]) -> Tensor:
        return self.factor * noisy


def test_velocity_loss_matches_formula() -> None:
    latents = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(5))
    scheduler = build_scheduler()
    found = velocity_loss(Half(), scheduler, Captioned(latents, ["", "", ""]), torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    timesteps = torch.randint(1000, (3,), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    torch.testing.assert_close(found["loss_velocity"], (0.5 * noisy - velocity).square().mean())


def test_caption_sampler_balances_domains_and_templates() -> None:
    pictures = Pictures(torch.zeros(10, 3, 8, 8, dtype=torch.uint8), ["photo"] * 8 + ["sketch"] * 2, ["dog"] * 10)
    latents = torch.arange(10.0).view(10, 1, 1, 1).half()
    batch = caption_sampler(latents, pictures, ["a {domain} of a {class}", "a {class}"], 3000)(
        torch.Generator().manual_seed(0))
    rows = batch.latents.flatten().int().tolist()
    assert 0.45 < sum(row >= 8 for row in rows) / 3000 < 0.55
    for row, text in zip(rows, batch.captions, strict=True):
        assert text in ("", "a dog", f"a {'sketch' if row >= 8 else 'photo'} of a dog")
    shares = {text: count / 3000 for text, count in Counter(batch.captions).items()}
    assert 0.08 < shares[""] < 0.12
    assert 0.42 < shares["a dog"] < 0.48
