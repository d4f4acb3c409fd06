"""Weight gradients of dense convolutions on a CPU, computed image by image.

For the large maps of a decoder or a feature pyramid in channels last, oneDNN needs two to three times as long for the
weight gradient of a 3 x 3 kernel as for that of one image after another in contiguous memory, copies included. The
output and the gradient of the input stay as they are. The results are those of ``conv2d``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from dg_project.backbones.depthwise import in_full_on_cpu

LARGE = 200_000
"""Numbers in the map of one image from which on this is faster (measured)."""


def by_image(network: nn.Module) -> None:
    """Let the dense convolutions of a network compute the weight gradients of large maps image by image on a CPU.

    No module is replaced, so names and weights in files stay what they are.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and _fits(module):
            # Unlike a closure, a partial refers to the copy after a deep copy.
            module._conv_forward = partial(_forward, module)  # type: ignore[method-assign]


def _fits(module: nn.Conv2d) -> bool:
    plain = module.groups == 1 and module.padding_mode == "zeros" and isinstance(module.padding, tuple)
    return plain and max(module.kernel_size) > 1 and set(module.stride) == set(module.dilation) == {1}


def _forward(module: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    learns = torch.is_grad_enabled() and weight.requires_grad
    if learns and x.shape[1:].numel() >= LARGE and in_full_on_cpu(x, weight):
        return dense_conv2d(x, weight, bias, module.padding)
    return nn.Conv2d._conv_forward(module, x, weight, bias)


def dense_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
    """Return ``conv2d`` of stride 1, ``(N, D, h, w)``.

    Args:
        x: ``(N, C, H, W)``.
        weight: ``(D, C, k, l)``.
        bias: ``(D,)``, or None.
        padding: zeros above and below, left and right.
    """
    result: Tensor = _DenseConv2d.apply(x, weight, bias, padding)
    return result


class _DenseConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        return (conv2d_input(x.shape, weight, gradient, padding=ctx.padding) if of_x else None,
                weight_gradient(x, weight, gradient, ctx.padding) if of_weight else None,
                gradient.sum((0, 2, 3)) if of_bias else None, None)


def weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, padding: Any) -> Tensor:
    """Return the gradient ``(D, C, k, l)`` of the kernel, summed over the images."""
    result = torch.zeros_like(weight)
    for image, above in zip(x.split(1), gradient.split(1), strict=True):
        result = result + conv2d_weight(image.contiguous(), weight.shape, above.contiguous(), padding=padding)
    return result
