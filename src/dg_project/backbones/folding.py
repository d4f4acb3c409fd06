"""Frozen batch normalisation as part of the convolution before it: the same function, two passes over the map fewer.

With fixed statistics ``norm(conv(x)) = conv'(x)``, where ``w' = w γ / σ`` and ``b' = (b - μ) γ / σ + β``. The
convolution still trains: ``w'`` is computed from ``w`` in every step. No module is replaced, so names and weights in
files stay what they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import get_same_padding
from torch import Tensor, nn

from dg_project.backbones.depthwise import FAST, Padding, depthwise_conv2d

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
NORMS = (nn.BatchNorm2d, BatchNormAct2d)

Pair = tuple[nn.Module, nn.Module]
"""A convolution and the batch normalisation of its output."""


@torch.no_grad()
def followed_by_norm(network: nn.Module, norms: Iterable[nn.Module], run: Callable[[], object]) -> list[Pair]:
    """Return each convolution whose output one of ``norms`` takes, both called once, found by running the network.

    Args:
        network: contains the norms.
        norms: batch normalisations with fixed statistics; other types than ``NORMS`` are skipped.
        run: runs the network.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []
    inputs: list[tuple[nn.Module, Tensor]] = []
    handles = [module.register_forward_hook(lambda module, _, output: outputs.append((module, output)))
               for module in network.modules() if type(module) in CONVOLUTIONS]
    handles += [norm.register_forward_pre_hook(lambda norm, given: inputs.append((norm, given[0])))
                for norm in norms if type(norm) in NORMS and norm.affine and norm.running_mean is not None]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    calls = Counter(module for module, _ in [*outputs, *inputs])
    made_by = {id(output): module for module, output in outputs if calls[module] == 1}
    return [(made_by[id(given)], norm) for norm, given in inputs if calls[norm] == 1 and id(given) in made_by]


def fold(pairs: Iterable[Pair]) -> None:
    """Let each convolution compute its normalised output, and each norm only its activation, if it has one."""
    for convolution, norm in pairs:
        # Unlike a closure, a partial refers to the copies after a deep copy.
        convolution.forward = partial(normalised_convolution, convolution, norm)
        norm.forward = partial(_activation, norm)


def unfold(pairs: Iterable[Pair]) -> None:
    """Undo ``fold``."""
    for module in (module for pair in pairs for module in pair):
        module.__dict__.pop("forward", None)


def normalised_convolution(convolution: Any, norm: Any, x: Tensor) -> Tensor:
    """Return ``norm(convolution(x))`` without the activation of the norm, in one pass over ``x`` (N, C, H, W)."""
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = convolution.weight * scale.view(-1, 1, 1, 1)
    shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
    bias = shift * scale + norm.bias
    padding = _padding(convolution, x)
    full = x.dtype == weight.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    if full and x.device.type == "cpu" and _slow(convolution, padding):
        return depthwise_conv2d(x, weight, bias, convolution.stride[0], padding)
    if isinstance(convolution, Conv2dSame):
        x = F.pad(x, padding)
    return convolution._conv_forward(x, weight, bias)


def _padding(convolution: Any, x: Tensor) -> Padding:
    """Return the zeros that the convolution adds to ``x``: left, right, top, bottom."""
    if not isinstance(convolution, Conv2dSame):
        vertical, horizontal = convolution.padding
        return horizontal, horizontal, vertical, vertical
    vertical, horizontal = (get_same_padding(*sizes) for sizes in zip(
        x.shape[-2:], convolution.kernel_size, convolution.stride, convolution.dilation, strict=True))
    return horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2


def _slow(convolution: Any, padding: Padding) -> bool:
    """Return whether a convolution is one that ``depthwise_conv2d`` computes faster."""
    side, left, right = convolution.kernel_size[0], *padding[:2]
    square = len({*convolution.kernel_size}) == len({*convolution.stride}) == 1 and side % 2 == 1
    depthwise = convolution.groups == convolution.in_channels == convolution.out_channels
    zeros = convolution.padding_mode == "zeros" and convolution.dilation == (1, 1)
    return square and depthwise and zeros and (side > FAST or left != right)


def _activation(norm: Any, x: Tensor) -> Tensor:
    return norm.act(norm.drop(x)) if isinstance(norm, BatchNormAct2d) else x
