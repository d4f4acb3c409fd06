"""Optimiser and learning-rate schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from dg_project.parameters import TrainingParams
from dg_project.training.learner import Learner


def build_optimizer(learner: Learner, params: TrainingParams) -> torch.optim.Optimizer:
    """Build the optimiser: the head learns ``head_lr_factor`` times as fast, vectors (biases) do not decay."""
    groups = []
    for name, weights in learner.parameter_groups().items():
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
    """Return what the learning rate is multiplied by at ``step`` (0-based): linear warm-up, then the schedule.

    ``cosine`` falls from 1 to 0 over the steps after the warm-up; ``step`` multiplies by 0.1 at 1/2 and at 2/3;
    ``poly`` is ``(1 - t / T)^0.9``, as segmentation networks are trained since DeepLab.
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


def set_lr(optimizer: torch.optim.Optimizer, step: int, params: TrainingParams) -> float:
    """Set the learning rate of a step on every group and return the backbone's."""
    lr = params.lr * lr_factor(step, params)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
    return lr
