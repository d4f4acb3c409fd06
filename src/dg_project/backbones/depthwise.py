"""Depthwise convolution on a CPU where oneDNN's own is slow: wide kernels, and padding that is not symmetric.

oneDNN computes the weight gradient of a 5 x 5 kernel about ten times more slowly than that of a 5 x 3 kernel, and
TensorFlow's padding (0 before, 1 after) copies the whole map. The results are those of ``conv2d``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

FAST = 3
"""Largest width of a kernel whose weight gradient oneDNN computes quickly."""

Padding = tuple[int, int, int, int]
"""Left, right, top, bottom; before and after differ by at most 1, as in TensorFlow's ``same``."""


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: Padding) -> Tensor:
    """Return the convolution of each channel with its own kernel, ``(N, C, h, w)``.

    Args:
        x: ``(N, C, H, W)`` float32, channels last.
        weight: ``(C, 1, k, k)`` with an odd k.
        bias: ``(C,)``.
        stride: of both sides.
        padding: zeros around ``x``.
    """
    if torch.is_grad_enabled() and any(value.requires_grad for value in (x, weight, bias)):
        result: Tensor = _DepthwiseConv2d.apply(x, weight, bias, stride, padding)
        return result
    return _forward(x, weight, bias, stride, padding)


def _forward(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: Padding) -> Tensor:
    left, right, top, bottom = padding
    # A zero before the kernel does what a shorter padding before the map would.
    kernel = F.pad(weight, (right - left, 0, bottom - top, 0))
    return F.conv2d(x, kernel, bias, stride, (bottom, right), groups=len(weight))


class _DepthwiseConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: Padding) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return _forward(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        return (input_gradient(x, weight, gradient, ctx.stride, ctx.padding) if of_x else None,
                weight_gradient(x, weight, gradient, ctx.stride, ctx.padding) if of_weight else None,
                gradient.sum((0, 2, 3)) if of_bias else None, None, None)


def input_gradient(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: Padding) -> Tensor:
    """Return the gradient ``(N, C, H, W)`` of the input, from that of the output ``(N, C, h, w)``."""
    left, right, top, bottom = padding
    if left == right and top == bottom:
        return conv2d_input(x.shape, weight, gradient, stride, (top, left), groups=len(weight))
    size = (*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right)
    padded = conv2d_input(size, weight, gradient, stride, groups=len(weight))
    return padded[:, :, top:size[2] - bottom, left:size[3] - right]


def weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: Padding) -> Tensor:
    """Return the gradient ``(C, 1, k, k)`` of the kernel, three columns at a time."""
    left, right, top, bottom = padding
    side = weight.shape[-1]
    result = torch.empty_like(weight)
    for first in range(0, max(side - FAST, 0) + 1, FAST - 1):
        width = min(FAST, side)
        seen = F.pad(x, (left - first, right - (side - width - first), top, bottom))
        result[..., first:first + width] = conv2d_weight(seen, (len(weight), 1, side, width), gradient, stride,
                                                         groups=len(weight))
    return result
