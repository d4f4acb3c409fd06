"""Last stage of the denoiser: train it against a critic so that one step from pure noise gives a sharp image.

A squared error leads to the mean of all images of a caption, which has no lamps, streaks and reflections, because their
positions differ between frames. The critic sees source, caption and image, and learns to tell such means from frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor, nn

from dg_project.pretraining.ldm.unet_training import Denoiser, PairBatch

DENOISED_SHARE = 1 / 3
"""Share of each batch trained at random noise levels, to keep multi-step sampling working."""
SMOOTHNESS, SMOOTH_SHARE = 0.002, 0.25
TONE = 8
"""Side, in latent cells, of the blocks whose brightness and colour are compared."""


class Critic(nn.Module):
    """Classify every block of 4 x 4 latent cells as real or generated, given source and caption.

    Args:
        latent_channels: C.
        text_dim: length of a pooled caption.
        width: channels at full size; twice as many at a quarter of it.
    """

    def __init__(self, latent_channels: int, text_dim: int, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2 * latent_channels, width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.LeakyReLU(0.2),
        )
        self.frame = nn.Conv2d(2 * width, 1, 3, padding=1)
        self.caption = nn.Linear(text_dim, 2 * width)

    def forward(self, target: Tensor, source: Tensor, text: Tensor) -> Tensor:
        """Return logits (N, 1, h/4, w/4): realism plus fit to the pooled caption (N, text_dim)."""
        seen = self.body(torch.cat([target, source], 1))
        fit = (seen * self.caption(text)[:, :, None, None]).mean(1, keepdim=True) * seen.shape[1] ** 0.5
        return self.frame(seen) + fit


class Duel(nn.Module):
    """Denoiser and critic, trained together.

    Args:
        denoiser: trained denoiser.
        critic: untrained critic.
        scheduler: schedule with zero terminal SNR and velocity prediction.
        weight: norm of the critic's gradient with respect to a drawn image, relative to that of the distance.
    """

    def __init__(self, denoiser: Denoiser, critic: Critic, scheduler: DDIMScheduler, weight: float) -> None:
        super().__init__()
        self.denoiser, self.critic = denoiser, critic
        self._scheduler, self._weight = scheduler, weight

    def losses(self, batch: PairBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of one batch.

        ``loss_velocity`` covers the rows at random noise levels. ``loss_drawn`` has the gradient
        ``∇d + ρ ‖∇d‖/‖∇a‖ ∇a`` with respect to the images ``ẑ = −v̂`` drawn from pure noise, with the distance
        ``d = mean w·|ẑ − z| + mean (ẑ − z)²`` (second term over means of 8 x 8 cells) and ``a = softplus(−D(ẑ))``.
        ``loss_critic = softplus(−D(z)) + softplus(D(ẑ)) + R1``. The value of ``loss_drawn`` has no meaning; read
        ``log_distance`` and ``log_doubt`` (the critic's mean probability that a drawn image is real) instead.
        """
        device = next(self.denoiser.parameters()).device
        scheduler, count = self._scheduler, len(batch.target)
        last, denoised = scheduler.config.num_train_timesteps - 1, max(1, round(count * DENOISED_SHARE))
        timesteps = torch.randint(last + 1, (count,), generator=generator)
        timesteps[denoised:] = last
        noise = torch.randn(batch.target.shape, generator=generator)
        noisy = scheduler.add_noise(batch.target, noise, timesteps).to(device)
        velocity = scheduler.get_velocity(batch.target, noise, timesteps).to(device)
        source, target, weights = (x.to(device) for x in (batch.source, batch.target, batch.weights))
        predicted, text = self.denoiser.predict(noisy, source, timesteps.to(device), batch.prompts)
        error = (predicted[:denoised] - velocity[:denoised]).square()
        losses = {"loss_velocity": (weights[:denoised] * error).mean() * denoised / count}
        smooth = float(torch.rand((), generator=generator)) < SMOOTH_SHARE
        if denoised < count:
            drawn, rows = -predicted[denoised:].float(), slice(denoised, None)
            losses |= self._drawn(drawn, target[rows], source[rows], text[rows].detach(), weights[rows], smooth)
        return losses

    def _drawn(self, drawn: Tensor, target: Tensor, source: Tensor, text: Tensor, weights: Tensor,
               smooth: bool) -> dict[str, Tensor]:
        """Return the losses of the images drawn from pure noise; ``smooth`` adds the gradient penalty R1."""
        image = drawn.detach().requires_grad_()
        cells = min(TONE, *image.shape[-2:])
        tone = F.avg_pool2d(image - target, cells)
        distance = (weights * (image - target).abs()).mean() + tone.square().mean()
        towards, = torch.autograd.grad(distance, image)
        believed = self.critic(image, source, text).float()
        likely, = torch.autograd.grad(F.softplus(-believed).mean(), image)
        pull = towards + self._weight * towards.norm() / likely.norm().clamp(min=1e-12) * likely
        real = target.clone().requires_grad_(smooth)
        seen = self.critic(real, source, text).float()
        critic = F.softplus(-seen).mean() + F.softplus(self.critic(image.detach(), source, text).float()).mean()
        if smooth:
            slope, = torch.autograd.grad(seen.sum(), real, create_graph=True)
            critic = critic + SMOOTHNESS / SMOOTH_SHARE / 2 * slope.square().sum((1, 2, 3)).mean()
        return {"loss_drawn": (pull * drawn).sum(), "loss_critic": critic, "log_distance": distance.detach(),
                "log_doubt": believed.detach().sigmoid().mean()}
