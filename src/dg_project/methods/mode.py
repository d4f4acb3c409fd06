"""MODE (Dai et al., ICML 2023): search for the hardest convex mixture of the styles in a batch by sign gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dg_project.config import Fraction, Params
from dg_project.data.batches import Batch
from dg_project.methods.base import Method, Needs
from dg_project.tasks.base import Inputs


class MODEParams(Params):
    """Size of the style banks and of the search."""

    bank: int = Field(4, ge=2, description="M: styles per image, including its own")
    steps: int = Field(10, ge=1, description="search steps")
    step_size: float = Field(0.05, gt=0)
    beta: Fraction = Field(0.4, description="weight of the loss on the restyled images")


def explore(loss: Callable[[Tensor], Tensor], weights: Tensor, steps: int, size: float) -> Tensor:
    """Return weights ``(N, M)`` that raise the loss: ``w <- clip(w + size * sign(dL/dw), 0, 1)``, ``steps`` times."""
    for _ in range(steps):
        leaf = weights.detach().requires_grad_()
        weights = (leaf + size * torch.autograd.grad(loss(leaf), leaf)[0].sign()).clamp(0, 1)
    return weights.detach()


def convex(weights: Tensor) -> Tensor:
    """Return weights ``(N, M)`` divided by their sums."""
    return weights / (weights.sum(1, keepdim=True) + 1e-6)


def mix_amplitudes(images: Tensor, bank: Tensor, weights: Tensor) -> Tensor:
    """Return ``F^-1(sum_m w_m A(x_m) exp(i P(x)))``: own phase, mixed amplitudes.

    Args:
        images: ``(N, C, H, W)``.
        bank: ``(N, M)`` int64, rows whose styles are mixed.
        weights: ``(N, M)``, rows sum to 1.
    """
    spectrum = torch.fft.rfft2(images)
    with torch.autocast(images.device.type, enabled=False):  # torch.polar needs one format for both
        mixed = torch.einsum("nm,nmchw->nchw", weights, spectrum.abs()[bank])
    return torch.fft.irfft2(torch.polar(mixed, spectrum.angle()), s=(images.shape[-2], images.shape[-1]))


def mix_statistics(images: Tensor, bank: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum_m w_m sigma_m * (x - mu) / sigma + sum_m w_m mu_m``, statistics over positions.

    The arguments are those of ``mix_amplitudes``.
    """
    mean, deviation = images.mean((2, 3)), (images.var((2, 3)) + 1e-5).sqrt()
    with torch.autocast(images.device.type, enabled=False):
        mixed_mean, mixed_deviation = (torch.einsum("nm,nmc->nc", weights, part[bank])[..., None, None]
                                       for part in (mean, deviation))
    return (images - mean[..., None, None]) / deviation[..., None, None] * mixed_deviation + mixed_mean


class MODE(Method):
    """``L = (1 - beta) L_task(x) + beta L_task(x^)``; ``x^`` is the hardest mixture, found in evaluation mode."""

    needs: ClassVar[Needs] = Needs(inner_gradients=True)
    Params: ClassVar[type[Params]] = MODEParams
    params: MODEParams

    @staticmethod
    @abstractmethod
    def restyle(images: Tensor, bank: Tensor, weights: Tensor) -> Tensor:
        """Return the images with mixed styles; see ``mix_amplitudes``."""

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task losses on the images, and ``loss_restyled_*`` on the same images in the hardest style."""
        inputs = self.model.prepare(batch.images, batch.targets)
        restyled = self._hardest(inputs, batch.weight)
        share = self.params.beta
        own = {name: (1 - share) * value for name, value in self._task(inputs, batch.weight).items()}
        hard = {name.replace("loss_", "loss_restyled_", 1): share * value
                for name, value in self._task(restyled, batch.weight).items()}
        return own | hard

    def _hardest(self, inputs: Inputs, weight: Tensor) -> Inputs:
        count, device = len(inputs), inputs.images.device
        bank = torch.randint(count, (count, self.params.bank)).to(device)
        bank[:, 0] = torch.arange(count, device=device)

        def styled(weights: Tensor) -> Inputs:
            return replace(inputs, images=self.restyle(inputs.images, bank, convex(weights)))

        def loss(weights: Tensor) -> Tensor:
            return torch.stack(list(self._task(styled(weights), weight).values())).sum()

        training = self.model.training
        self.model.eval()
        start = torch.full(bank.shape, 1 / self.params.bank, device=device)
        weights = explore(loss, start, self.params.steps, self.params.step_size)
        self.model.train(training)
        return styled(weights)

    def _task(self, inputs: Inputs, weight: Tensor) -> dict[str, Tensor]:
        return self.model.losses(self.model.neck(self.model.features(inputs.images)), inputs, weight)


class ModeF(MODE):
    """MODE with Fourier amplitudes as styles."""

    name: ClassVar[str] = "mode_f"
    restyle = staticmethod(mix_amplitudes)


class ModeA(MODE):
    """MODE with channel statistics as styles: here of the colours, because no package has a VGG decoder (ours)."""

    name: ClassVar[str] = "mode_a"
    restyle = staticmethod(mix_statistics)
