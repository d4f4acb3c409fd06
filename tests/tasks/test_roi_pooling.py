"""RoIAlign by matrix products, compared with torchvision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from dg_project.core.device import deterministic
from dg_project.tasks.roi_pooling import RoIPooling

SHAPES = [(96, 160)] * 3
STRIDES = {"stage3": 8, "stage4": 16, "stage5": 32}


@pytest.mark.parametrize("levels", [["stage3"], ["stage3", "stage4", "stage5"]])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_roi_pooling_equals_torchvision(levels: list[str], samples: int) -> None:
    draw = torch.Generator().manual_seed(0)
    maps = {name: torch.randn(3, 5, 96 // stride, 160 // stride, generator=draw, requires_grad=True)
            for name, stride in STRIDES.items() if name in levels}
    corner = torch.rand(40, 2, generator=draw) * torch.tensor([150.0, 90.0]) - 20  # some begin far outside
    boxes = torch.cat([corner, corner + torch.rand(40, 2, generator=draw) * 300], 1)
    boxes[0] = torch.tensor([30.0, 30.0, 30.0, 30.0])
    given = [boxes[:25], boxes[:0], boxes[25:]]
    options = {"output_size": 4, "sampling_ratio": samples, "canonical_scale": 96, "canonical_level": 4}
    pooled, expected = (kind(levels, **options)(maps, given, SHAPES) for kind in (RoIPooling, MultiScaleRoIAlign))
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-4)
    weight = torch.randn(expected.shape, generator=draw)
    for ours, reference in zip(*(torch.autograd.grad((value * weight).sum(), list(maps.values()))
                              for value in (pooled, expected)), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


def test_roi_pooling_without_boxes() -> None:
    maps = {"stage3": torch.zeros(1, 5, 12, 20)}
    assert RoIPooling(["stage3"], 4, 2)(maps, [torch.zeros(0, 4)], SHAPES[:1]).shape == (0, 5, 4, 4)


def test_roi_pooling_on_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deterministic RoIAlign would be compiled by torchvision at the first step."""
    settings = []

    def kernel(*_: Any) -> torch.Tensor:
        settings.append(torch.are_deterministic_algorithms_enabled())
        return torch.zeros(1)

    monkeypatch.setattr(MultiScaleRoIAlign, "forward", kernel)
    pooling = RoIPooling(["0"], 3, 2)
    with deterministic():
        pooling({"0": torch.zeros(1, 2, 8, 8, device="meta")}, [torch.zeros(1, 4, device="meta")], [(32, 32)])
        assert torch.are_deterministic_algorithms_enabled()
    assert settings == [False]
