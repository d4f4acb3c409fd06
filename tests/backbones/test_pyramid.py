"""Folding and resampling of plain transformers, compared with timm, torchvision and torch."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import VisionTransformer

from dg_project.backbones import build_backbone
from dg_project.backbones.pyramid import evenly_spaced, resampling
from dg_project.config import BackboneParams


def params(name: str) -> BackboneParams:
    return BackboneParams(name=name, weights=None, frozen_stages=0)


def images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "size"), [
    ("test_vit", (64, 96)), ("vit_xsmall_patch16_clip_224", (96, 64)), ("eva02_tiny_patch14_224", (56, 84)),
    ("vit_small_patch14_reg4_dinov2", (65, 96)), ("vit_tiny_patch16_dinov3_qkvb", (64, 96))])
@torch.no_grad()
def test_stages_equal_timm(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours = build_backbone(params(name)).eval()
    torch.manual_seed(0)
    whole = timm.create_model(name, dynamic_img_size=True, dynamic_img_pad=True).eval()
    blocks = evenly_spaced(len(whole.blocks))
    expected = whole.forward_intermediates(images(*size), list(blocks.values()), norm=True, intermediates_only=True)
    patch = whole.patch_embed.patch_size[0]
    outputs = ours(images(*size))
    native = ours._maps(images(*size))
    for (stage, output), reference in zip(outputs.items(), expected, strict=True):
        torch.testing.assert_close(whole.norm(native[stage].permute(0, 2, 3, 1)).permute(0, 3, 1, 2), reference)
        if 2 ** int(stage[-1]) == patch:
            torch.testing.assert_close(output, reference)
        else:
            resized = F.interpolate(reference, scale_factor=patch / 2 ** int(stage[-1]), mode="bilinear",
                                    antialias=True)
            height, width = (min(n) for n in zip(output.shape[-2:], resized.shape[-2:], strict=True))
            torch.testing.assert_close(output[..., :height, :width], resized[..., :height, :width], rtol=1e-4,
                                       atol=1e-5)


@torch.no_grad()
def test_swin_stages_equal_timm() -> None:
    torch.manual_seed(0)
    ours = build_backbone(params("swin_tiny")).eval()
    torch.manual_seed(0)
    whole = timm.create_model("swin_tiny_patch4_window7_224", strict_img_size=False).eval()
    expected = whole.forward_intermediates(images(64, 96), intermediates_only=True)
    for output, reference in zip(ours(images(64, 96)).values(), expected, strict=True):
        torch.testing.assert_close(output, reference)


@torch.no_grad()
def test_torchvision_vit_last_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = VisionTransformer(image_size=64, patch_size=16, num_layers=6, num_heads=2, hidden_dim=32, mlp_dim=64).eval()
    monkeypatch.setattr("torchvision.models.get_model", lambda name, weights: copy.deepcopy(whole))
    ours = build_backbone(params("torchvision/vit_b_16")).eval()
    inside: list[Tensor] = []
    whole.encoder.register_forward_hook(lambda module, inputs, output: inside.append(output))
    given = images(64, 64)
    whole(given)
    features = ours._maps(given)["stage5"]
    encoded = whole.encoder.ln(features.permute(0, 2, 3, 1)).flatten(1, 2)
    torch.testing.assert_close(encoded, inside[0][:, 1:])


@torch.no_grad()
def test_tap_keeps_prefix_tokens() -> None:
    backbone = build_backbone(params("vit_small_patch14_reg4_dinov2")).eval()
    seen: list[Tensor] = []
    following = backbone.network.get_submodule("blocks.6")
    following.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone(images(56, 84))
    backbone.tap("stage3").module = lambda features: features + 1
    backbone(images(56, 84))
    assert backbone.network.num_prefix_tokens == 5
    assert torch.equal(seen[1][:, :5], seen[0][:, :5])
    assert torch.equal(seen[1][:, 5:], seen[0][:, 5:] + 1)


@pytest.mark.parametrize(("n", "stride", "new_n", "new_stride"), [
    (6, 16, 24, 4), (6, 16, 12, 8), (6, 16, 3, 32), (8, 14, 7, 16), (16, 14, 7, 32), (4, 32, 16, 8)])
def test_resampling_equals_interpolate(n: int, stride: int, new_n: int, new_stride: int) -> None:
    cells = torch.rand(n, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(cells.expand(1, 1, 2, n), scale_factor=(1, stride / new_stride), mode="bilinear",
                             antialias=True)[0, 0, 0]
    assert len(expected) == new_n
    torch.testing.assert_close(resampling(n, stride, new_n, new_stride) @ cells, expected)


@pytest.mark.parametrize(("length", "stride", "new_stride"), [(65, 14, 16), (65, 16, 4), (100, 14, 8), (97, 16, 32)])
def test_resampling_partial_last_cell(length: int, stride: int, new_stride: int) -> None:
    n, new_n = -(-length // stride), -(-length // new_stride)
    centres = (torch.arange(n) + 0.5) * stride
    moved = resampling(n, stride, new_n, new_stride) @ centres
    wanted = (torch.arange(new_n) + 0.5) * new_stride
    reach = max(stride, new_stride)
    inside = (wanted >= centres[0] + reach) & (wanted <= centres[-1] - reach)
    assert inside.any()
    atol = stride / 8 if new_stride > stride else 1e-3
    torch.testing.assert_close(moved[inside], wanted[inside], rtol=0, atol=atol)


@pytest.mark.parametrize(("depth", "blocks"), [(12, [2, 5, 8, 11]), (24, [5, 11, 17, 23]), (6, [1, 2, 4, 5])])
def test_evenly_spaced(depth: int, blocks: list[int]) -> None:
    assert list(evenly_spaced(depth).values()) == blocks
