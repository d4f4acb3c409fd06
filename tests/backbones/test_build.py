"""Names, image statistics, and unsuitable networks."""

from __future__ import annotations

import pytest
import timm
import torch

from dg_project.backbones import build_backbone
from dg_project.backbones.timm_networks import SHORT_NAMES
from dg_project.config import BackboneParams
from dg_project.core.errors import ParameterError


def params(name: str, **changes: object) -> BackboneParams:
    return BackboneParams.model_validate({"name": name, "weights": None, **changes})


def test_short_names() -> None:
    for short, name in SHORT_NAMES.items():
        assert timm.is_model(name)
        assert not timm.is_model(short)


@pytest.mark.parametrize(("name", "message"), [
    ("vit_smal", "Did you mean 'vit_small'"),
    ("tf_efficientnet_light0", "Did you mean 'tf_efficientnet_lite0'"),
    ("qqq", "Known: clip_vit_base, .*vit_tiny"),
    ("vit_small_patch14_dinov2.lvd142", "has no weights 'lvd142'. Did you mean 'lvd142m'"),
    ("torchvision/vit_b_61", "Did you mean 'vit_b_16'"),
])
def test_unknown_name_nearest(name: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        build_backbone(params(name))


@pytest.mark.parametrize("name", [
    "gmlp_ti16_224",             # one token per patch, and a weight for every pair of positions
    "test_coatnet",              # relative positions of the pretraining size
    "crossvit_tiny_240",         # two streams of tokens
    "torchvision/maxvit_t",      # windows that must fill the image
])
def test_network_without_maps(name: str) -> None:
    with pytest.raises(ParameterError, match=r"backbone\.name: .*choose"):
        build_backbone(params(name))


@pytest.mark.parametrize(("name", "mean", "std"), [
    ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("vit_tiny", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ("vit_xsmall_patch16_clip_224", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ("torchvision/resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
def test_normalise(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    grey = build_backbone(params(name)).normalise(torch.full((1, 3, 2, 2), 0.25))
    expected = (0.25 - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(grey[0, :, 0, 0], expected)


def test_frozen_stages_parameter() -> None:
    assert params("test_vit", frozen_stages="all").frozen_stages == "all"
    for wrong in (-1, "most"):
        with pytest.raises(ValueError, match="frozen_stages"):
            params("test_vit", frozen_stages=wrong)


def test_hub_name_as_weights() -> None:
    with pytest.raises(ValueError, match=r"as backbone\.name.*backbone\.weights to hub"):
        params("vit_small", weights="hf-hub:timm/vit_small_patch14_dinov2.lvd142m")


def test_frozen_stages_without_dropout() -> None:
    images = torch.rand(2, 3, 64, 96)
    torch.manual_seed(0)
    backbone = build_backbone(params("swin_tiny", frozen_stages=3)).train()
    with torch.no_grad():
        first, second = backbone(images), backbone(images)
    assert torch.equal(first["stage3"], second["stage3"])
    assert not torch.equal(first["stage5"], second["stage5"])


def test_layer_norm_trains() -> None:
    backbone = build_backbone(params("test_vit", frozen_stages=0, frozen_bn=True)).train()
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert norms
    assert all(norm.training and norm.weight.requires_grad for norm in norms)
