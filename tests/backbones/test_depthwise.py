"""Depthwise convolution against torch's own, with padding that is not symmetric."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dg_project.backbones.depthwise import Padding, depthwise_conv2d


@pytest.mark.parametrize(("side", "stride", "padding"), [
    (3, 1, (1, 1, 1, 1)), (3, 2, (0, 1, 0, 1)), (5, 1, (2, 2, 2, 2)), (5, 2, (1, 2, 1, 2)), (5, 2, (2, 2, 1, 2)),
    (7, 1, (3, 3, 3, 3)), (7, 2, (2, 3, 2, 3)),
])
def test_equals_padded_convolution(side: int, stride: int, padding: Padding) -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.rand(size, generator=generator, dtype=torch.float64).requires_grad_()
             for size in ((2, 2, 8, 12), (2, 1, side, side), (2,))]
    ours = depthwise_conv2d(*given, stride, padding)
    x, weight, bias = given
    reference = F.conv2d(F.pad(x, padding), weight, bias, stride, groups=2)
    torch.testing.assert_close(ours, reference)
    upstream = torch.rand(reference.shape, generator=generator, dtype=torch.float64)
    for found, wanted in zip(torch.autograd.grad(ours, given, upstream),
                             torch.autograd.grad(reference, given, upstream), strict=True):
        torch.testing.assert_close(found, wanted)
    with torch.no_grad():
        torch.testing.assert_close(depthwise_conv2d(*given, stride, padding), reference)


def test_second_derivatives() -> None:
    given = [torch.rand(size, dtype=torch.float64, requires_grad=True) for size in ((1, 1, 4, 4), (1, 1, 5, 5), (1,))]
    assert torch.autograd.gradgradcheck(lambda *values: depthwise_conv2d(*values, 2, (1, 2, 1, 2)), given)
