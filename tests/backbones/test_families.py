"""Every family of networks: stages, taps, freezing, gradients, state, and a detector."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor

from dg_project.backbones import Backbone, build_backbone
from dg_project.config import BackboneParams, DetectionParams
from dg_project.tasks import Detector

PLAIN = ["test_vit", "vit_xsmall_patch16_clip_224", "eva02_tiny_patch14_224"]
SMALL = ["test_resnet", "test_efficientnet", "test_convnext", "test_mambaout", *PLAIN, "swin_tiny",
         "torchvision/mobilenet_v3_small"]
LARGE = ["vit_small_patch14_reg4_dinov2", "vit_tiny_patch16_dinov3_qkvb", "torchvision/resnet18",
         "torchvision/efficientnet_b0", "torchvision/convnext_tiny", "torchvision/swin_t", "torchvision/vit_b_16"]
"""Built once for the tests of stages and taps, because building is slow."""


def build(name: str, seed: int = 0, **changes: object) -> Backbone:
    torch.manual_seed(seed)
    return build_backbone(BackboneParams.model_validate(
        {"name": name, "weights": None, "frozen_stages": 0, "frozen_bn": False, **changes}))


@cache
def shared(name: str) -> Backbone:
    """A backbone in evaluation mode shared by the tests of a family, which must not change it."""
    return build(name).eval()


def images(height: int = 64, width: int = 96, n: int = 1) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
@pytest.mark.parametrize("size", [(64, 96), (160, 96)])
@torch.no_grad()
def test_stage_strides(name: str, size: tuple[int, int]) -> None:
    backbone = shared(name)
    outputs = backbone(images(*size))
    assert list(outputs) == list(backbone.channels) == list(backbone.strides)
    assert [*outputs][-4:] == ["stage2", "stage3", "stage4", "stage5"]
    assert backbone.last == "stage5"
    for stage, output in outputs.items():
        stride = 2 ** int(stage.removeprefix("stage"))
        assert output.shape == (1, backbone.channels[stage], size[0] // stride, size[1] // stride)
        assert backbone.strides[stage] == stride


@pytest.mark.parametrize("name", [*PLAIN, "swin_tiny", "vit_small_patch14_reg4_dinov2", "torchvision/vit_b_16"])
@torch.no_grad()
def test_transformer_pads_to_patches(name: str) -> None:
    for stage, output in shared(name)(images(65, 97)).items():
        stride = shared(name).strides[stage]
        assert output.shape[-2:] == (-(-65 // stride), -(-97 // stride))
        assert torch.isfinite(output).all()


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
@torch.no_grad()
def test_tap_changes_later_stages_only(name: str) -> None:
    backbone, given = shared(name), images()
    before = backbone(given)
    for number, stage in enumerate(before):
        tap = backbone.tap(stage)
        tap.module = torch.clone
        identity = backbone(given)
        tap.module = lambda features: features.flip(2)
        flipped = backbone(given)
        tap.module = None
        for other, name_of_other in enumerate(before):
            assert torch.equal(identity[name_of_other], before[name_of_other])
            assert torch.equal(flipped[name_of_other], before[name_of_other]) is (other < number)
    after = backbone(given)
    assert all(torch.equal(after[stage], value) for stage, value in before.items())


@pytest.mark.parametrize("name", SMALL)
def test_frozen_stages_gradients(name: str) -> None:
    backbone = build(name, frozen_stages=2)
    outputs = backbone.train()(images())
    assert not backbone._maps(images())["stage2"].requires_grad
    assert outputs["stage3"].requires_grad
    torch.stack([output.square().mean() for output in outputs.values()]).sum().backward()
    trainable = [weight for weight in backbone.parameters() if weight.requires_grad]
    frozen = [weight for weight in backbone.parameters() if not weight.requires_grad]
    assert trainable
    assert frozen
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in trainable)
    assert any(weight.grad.abs().max() > 0 for weight in trainable if weight.grad is not None)
    assert all(weight.grad is None for weight in frozen)


@pytest.mark.parametrize("name", SMALL)
def test_frozen_all(name: str) -> None:
    backbone = build(name, frozen_stages="all").train()
    assert not any(weight.requires_grad for weight in backbone.parameters())
    with torch.no_grad():
        first, second = (backbone(images()) for _ in range(2))
    assert all(torch.equal(first[stage], second[stage]) for stage in first)
    scale = torch.nn.Parameter(torch.ones(()))
    backbone.tap("stage3").module = lambda features: features * scale
    backbone(images())["stage5"].square().sum().backward()
    assert scale.grad is not None
    assert scale.grad.abs() > 0


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_seed_and_state_dict(name: str) -> None:
    backbone, state = shared(name), shared(name).state_dict()
    other = build(name, seed=1).eval()
    assert any(not torch.equal(value, state[key]) for key, value in other.state_dict().items())
    other.load_state_dict(state)
    expected = backbone(images())
    assert all(torch.equal(value, expected[stage]) for stage, value in other(images()).items())
    again = build(name, seed=0).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.items())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "swin_tiny"])
@torch.no_grad()
def test_deep_copy(name: str) -> None:
    backbone = shared(name)
    twin = copy.deepcopy(backbone)
    twin.tap("stage2").module = torch.zeros_like
    assert twin(images())["stage3"].ne(backbone(images())["stage3"]).any()
    assert backbone.tap("stage2").module is None
    assert list(twin(images())) == list(backbone(images()))


@pytest.mark.parametrize("name", SMALL)
def test_detector_on_backbone(name: str) -> None:
    sizes = DetectionParams(image_size=(64, 96), fpn_channels=16, box_head_features=16, proposals_train=32,
                            proposals_test=16, rois_per_image=16, anchors_per_image=32)
    detector = Detector(build(name), sizes, ["bus", "car"]).train()
    target = {"boxes": torch.tensor([[8.0, 10.0, 40.0, 34.0]]), "labels": torch.tensor([2]),
              "difficult": torch.tensor([False])}
    inputs = detector.prepare(list(images(n=2)), [target, target])
    losses = detector.losses(detector.neck(detector.features(inputs.images)), inputs, torch.ones(2))
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total)
    grown = [weight.grad for weight in detector.backbone.parameters() if weight.grad is not None]
    assert any(gradient.abs().max() > 0 for gradient in grown)
    for found in detector.predict(list(images(80, 120, n=2))):
        assert torch.isfinite(found["boxes"]).all()
        assert torch.isfinite(found["scores"]).all()
