"""Gradient reversal (Ganin and Lempitsky, ICML 2015)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


def reverse_gradient(value: Tensor, weight: float) -> Tensor:
    """Return ``value`` unchanged; multiply its gradient by ``-weight``."""
    return cast(Tensor, _Reverse.apply(value, weight))
