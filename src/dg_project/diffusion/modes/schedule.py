"""Parts of a noise schedule, and source latents, for the modes whose pipeline knows no strength."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class LastSteps:
    """A scheduler whose pipeline sees only the last ``run`` timesteps; the schedule itself stays whole.

    Multistep solvers look up their place in the whole schedule, so cutting ``timesteps`` itself would break them.
    """

    def __init__(self, scheduler: Any, run: int) -> None:
        self._scheduler = scheduler
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    @property
    def timesteps(self) -> Tensor:
        """The timesteps that are run, ``(run * order,)``."""
        return self._scheduler.timesteps[-self._run * self._scheduler.order :]

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        """Make the whole schedule and begin at the first timestep that is run."""
        self._scheduler.set_timesteps(*args, **kwargs)
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(len(self._scheduler.timesteps) - len(self.timesteps))


class FirstSteps(LastSteps):
    """A scheduler whose pipeline sees only the first ``run`` timesteps, as an inversion needs them."""

    @property
    def timesteps(self) -> Tensor:
        """The timesteps that are run, ``(run * order,)``."""
        return self._scheduler.timesteps[: self._run * self._scheduler.order]

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        """Make the whole schedule, which begins where every schedule begins."""
        self._scheduler.set_timesteps(*args, **kwargs)


@contextmanager
def scheduled(pipeline: Any, scheduler: Any) -> Iterator[None]:
    """Let the pipeline run with another scheduler inside the block."""
    own = pipeline.scheduler
    pipeline.scheduler = scheduler
    try:
        yield
    finally:
        pipeline.scheduler = own


@torch.no_grad()
def encode(pipeline: Any, pixels: Tensor) -> Tensor:
    """Return the scaled latents ``(N, C, h, w)`` of pixels ``(N, 3, H, W)`` in -1..1: the mode of each distribution."""
    vae, dtype = pipeline.vae, pipeline.unet.dtype
    overflows = vae.dtype == torch.float16 and vae.config.force_upcast  # as every SDXL pipeline asks before it encodes
    if overflows:
        vae.to(torch.float32)
    latents = vae.encode(pixels.to(pipeline._execution_device, vae.dtype)).latent_dist.mode()
    if overflows:
        vae.to(dtype)
    return (latents * vae.config.scaling_factor).to(dtype)
