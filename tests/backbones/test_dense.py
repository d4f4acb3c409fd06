"""Dense convolution with weight gradients image by image, against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dg_project.backbones import dense


@pytest.mark.parametrize(("kernel", "padding", "bias"), [((3, 3), (1, 1), True), ((3, 5), (0, 2), False)])
def test_equals_convolution(kernel: tuple[int, int], padding: tuple[int, int], bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.rand(size, generator=generator, dtype=torch.float64).requires_grad_()
             for size in ((3, 2, 8, 12), (4, 2, *kernel), (4,))[:2 + bias]]
    x, weight, shift = given[0].to(memory_format=torch.channels_last), given[1], given[2] if bias else None
    ours = dense.dense_conv2d(x, weight, shift, padding)
    reference = F.conv2d(x, weight, shift, padding=padding)
    torch.testing.assert_close(ours, reference, rtol=0, atol=0)
    upstream = torch.rand(reference.shape, generator=generator, dtype=torch.float64)
    for found, wanted in zip(torch.autograd.grad(ours, given, upstream),
                             torch.autograd.grad(reference, given, upstream), strict=True):
        torch.testing.assert_close(found, wanted)


def test_second_derivatives() -> None:
    given = [torch.rand(size, dtype=torch.float64, requires_grad=True) for size in ((2, 1, 4, 4), (2, 1, 3, 3), (2,))]
    assert torch.autograd.gradgradcheck(lambda *values: dense.dense_conv2d(*values, (1, 1)), given)


def used_by(network: nn.Module, x: Tensor) -> bool:
    return type(network(x).grad_fn).__name__.startswith("_DenseConv2d")


def test_large_maps_of_dense_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "LARGE", 2 * 8 * 8)
    plain, grouped = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1, groups=2)
    pointwise, strided = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 3, 2)
    dense.by_image(nn.ModuleList([plain, grouped, pointwise, strided]))
    assert used_by(plain, torch.rand(1, 2, 8, 8))
    assert not used_by(plain, torch.rand(9, 2, 8, 7))
    assert not any(used_by(network, torch.rand(1, 2, 8, 8)) for network in (grouped, pointwise, strided))
    assert plain(torch.rand(1, 2, 8, 8)).shape == (1, 4, 8, 8)
    plain.weight.requires_grad_(False)
    assert not used_by(plain, torch.rand(1, 2, 8, 8))


def test_copies_use_their_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "LARGE", 0)
    network = nn.Conv2d(1, 1, 3, padding=1)
    dense.by_image(network)
    other = copy.deepcopy(network)
    nn.init.zeros_(other.weight)
    x = torch.rand(1, 1, 4, 4)
    other(x).sum().backward()
    assert other.weight.grad is not None
    assert network.weight.grad is None
    assert not torch.equal(network(x), other(x))
