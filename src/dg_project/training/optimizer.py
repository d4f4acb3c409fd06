"""Optimisers, learning-rate schedule and mixed precision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dg_project.config import TrainingParams
from dg_project.core.errors import ParameterError
from dg_project.methods.base import Learner

Optimizers = dict[str, torch.optim.Optimizer]


def build_optimizers(learner: Learner, params: TrainingParams) -> Optimizers:
    """Build the optimisers of a learner by name; most learners have one."""
    return {name: build_optimizer(groups, params) for name, groups in learner.optimizer_groups().items()}


def build_optimizer(parameters: Mapping[str, list[nn.Parameter]], params: TrainingParams) -> torch.optim.Optimizer:
    """Build one optimiser: the head learns ``head_lr_factor`` times as fast, vectors (biases) have no weight decay.

    Args:
        parameters: parameters to train, as ``backbone`` and ``head``.
        params: optimiser, learning rate and weight decay.
    """
    groups = []
    for name, weights in parameters.items():
        factor = params.head_lr_factor if name == "head" else 1.0
        for decay, members in _by_decay(weights, params.weight_decay):
            groups.append({"params": members, "lr": params.lr * factor, "factor": factor, "weight_decay": decay})
    if params.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=params.lr, momentum=params.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=params.lr, fused=True)


def _by_decay(weights: list[nn.Parameter], decay: float) -> list[tuple[float, list[nn.Parameter]]]:
    matrices = [weight for weight in weights if weight.ndim > 1]
    vectors = [weight for weight in weights if weight.ndim <= 1]
    return [(value, members) for value, members in ((decay, matrices), (0.0, vectors)) if members]


def lr_factor(step: int, params: TrainingParams) -> float:
    """Return the factor of the learning rate at ``step`` (0-based): linear warm-up, then the schedule.

    ``cosine`` falls from 1 to 0 over the steps after the warm-up; ``step`` multiplies by 0.1 at 1/2 and at 2/3;
    ``poly`` is ``(1 - t / T)^0.9``, as in DeepLab.
    """
    warmup = min(1.0, (step + 1) / (params.warmup_steps + 1))
    if params.schedule == "constant":
        return warmup
    if params.schedule == "step":
        done = step / params.max_steps
        return warmup * (0.1 ** ((done >= 1 / 2) + (done >= 2 / 3)))
    if params.schedule == "poly":
        return warmup * (1 - step / params.max_steps) ** 0.9
    after = max(0, step - params.warmup_steps) / max(1, params.max_steps - params.warmup_steps)
    return warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, after)))


def set_lr(optimizers: Iterable[torch.optim.Optimizer], step: int, params: TrainingParams) -> float:
    """Set the learning rate of a step on every parameter group and return that of the backbone."""
    lr = params.lr * lr_factor(step, params)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group["factor"]
    return lr


class Precision:
    """Automatic mixed precision: convolutions and products in a short format, sums and losses in float32.

    Args:
        name: ``float32``, ``bfloat16`` or ``float16``. With float16 the loss is scaled: small gradients would vanish.
        device: torch device.

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
        """Return the autocast context for the losses."""
        return nullcontext() if self._dtype == torch.float32 else torch.autocast(self._device, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled if the format needs it."""
        self._scaler.scale(loss).backward()

    def step(self, optimizers: Sequence[torch.optim.Optimizer], weights: Iterable[nn.Parameter],
             grad_clip: float | None) -> None:
        """Step the optimisers with clipped gradients; a step whose gradients overflow float16 is skipped."""
        for optimizer in optimizers:
            self._scaler.unscale_(optimizer)
        if grad_clip is not None:
            nn.utils.clip_grad_norm_(weights, grad_clip)
        for optimizer in optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Return the state of the loss scaler; empty if nothing is scaled."""
        return self._scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Load what ``state`` returned."""
        if state:
            self._scaler.load_state_dict(state)
