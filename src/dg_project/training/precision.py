"""The numbers that a step computes with. Weights, gradients and the optimiser's state are float32 throughout."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dg_project.errors import ParameterError


class Precision:
    """Automatic mixed precision: convolutions and products in a short format, sums and losses in float32.

    Args:
        name: ``float32``, ``bfloat16`` or ``float16``. The small gradients of float16 vanish unless the loss is scaled.
        device: where is computed.

    Raises:
        ParameterError: float16 on a CPU.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "float16" and device.type == "cpu":
            raise ParameterError("training.precision: float16 needs an accelerator; use bfloat16 or float32 on the CPU")
        self._dtype: torch.dtype = getattr(torch, name)
        self._device = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "float16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that losses are computed in."""
        return nullcontext() if self._dtype == torch.float32 else torch.autocast(self._device, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients, scaled where the format needs it."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer, weights: Iterable[nn.Parameter], grad_clip: float | None) -> None:
        """Take an optimiser step with the clipped gradients; gradients that overflowed float16 are left out."""
        self._scaler.unscale_(optimizer)
        if grad_clip is not None:
            nn.utils.clip_grad_norm_(weights, grad_clip)
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Return the scale and when it last changed; empty where nothing is scaled."""
        return self._scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        if state:
            self._scaler.load_state_dict(state)
