"""Frozen batch normalisation folded into convolutions: the same function and the same gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from dg_project.backbones import Backbone, build_backbone
from dg_project.backbones.folding import followed_by_norm
from dg_project.config import BackboneParams


def build(name: str, **changes: object) -> Backbone:
    """A backbone without frozen stages and with random statistics."""
    torch.manual_seed(0)
    backbone = build_backbone(BackboneParams.model_validate(
        {"name": name, "weights": None, "frozen_stages": 0, **changes}))
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.running_mean, -0.2), (module.running_var, 0.5), (module.weight, 0.5),
                                (module.bias, -0.2)):
                assert values is not None
                nn.init.uniform_(values.data, low, low + 1)
    return backbone


def outputs_and_gradients(backbone: Backbone) -> list[Tensor]:
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    backbone.train().zero_grad()
    outputs = list(backbone(images).values())
    torch.stack([output.square().mean() for output in outputs]).sum().backward()
    return [*outputs, *(w.grad for w in backbone.parameters() if w.grad is not None)]


@pytest.mark.parametrize("name", ["test_efficientnet", "tf_efficientnet_lite0", "test_resnet", "torchvision/resnet18",
                                  "torchvision/mobilenet_v3_small"])
def test_same_outputs_and_gradients(name: str) -> None:
    backbone = build(name).double()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    assert len(backbone._folded) == norms > 4
    folded = outputs_and_gradients(backbone)
    backbone.unfold()
    for new, old in zip(folded, outputs_and_gradients(backbone), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-8, atol=1e-10)


def test_copy_and_file_have_their_own_weights() -> None:
    backbone = build("test_efficientnet").eval()
    images = torch.rand(1, 3, 64, 64)
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.1)
        assert not torch.allclose(other(images)["stage5"], backbone(images)["stage5"])
        other.load_state_dict(backbone.state_dict())
        assert torch.equal(other(images)["stage5"], backbone(images)["stage5"])
    unfrozen = build("test_efficientnet", frozen_bn=False)
    assert not unfrozen._folded
    assert list(unfrozen.state_dict()) == list(backbone.state_dict())


class Twice(nn.Module):
    """Calls its norm ``times``."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.conv, self.norm, self.times = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), times

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for _ in range(self.times):
            x = self.norm(x)
        return x


@pytest.mark.parametrize(("times", "found"), [(1, 1), (2, 0)])
def test_pairs_are_called_once(times: int, found: int) -> None:
    network = Twice(times).eval()
    pairs = followed_by_norm(network, [network.norm], lambda: network(torch.rand(1, 3, 4, 4)))
    assert pairs == [(network.conv, network.norm)] * found
