"""LFME and MixNorm against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.core.errors import ParameterError
from dg_project.methods.lfme import LFME, guidance_loss
from dg_project.methods.mixnorm import mix_statistics
from dg_project.methods.model_folder import ModelSpec, build_method


def spec(method: str, domains: list[str], backbone: str = "test_resnet", **options: float) -> ModelSpec:
    return ModelSpec(method=method, method_params=options, task="classification", classes=["car", "bus"],
                     domains=domains, head=ClassificationParams(image_size=(32, 32)).model_dump(mode="json"),
                     backbone=BackboneParams(name=backbone, weights=None, frozen_stages=0))


def test_mix_statistics_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(3, 4, 5, 6, generator=generator) + 1
    norm = nn.BatchNorm2d(4).eval()
    norm.running_mean, norm.running_var = torch.randn(4, generator=generator), torch.rand(4, generator=generator) + 0.5
    got = norm(mix_statistics(x, norm.running_mean, norm.running_var, 0.7, norm.eps))
    for i in range(3):
        for c in range(4):
            mean = 0.7 * norm.running_mean[c] + 0.3 * x[i, c].mean()
            variance = 0.7 * norm.running_var[c] + 0.3 * x[i, c].var(correction=0)
            expected = (x[i, c] - mean) / (variance + norm.eps).sqrt()
            torch.testing.assert_close(got[i, c], expected, rtol=1e-5, atol=1e-5)


def test_mixnorm_predictions_per_image() -> None:
    images = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    erm, same, mixed = (build_method(spec(*given), seed=1) for given in
                        (("erm", ["a"]), ("mixnorm", ["a"]), ("mixnorm", ["a"])))
    same.params = same.Params(source_share=1.0)
    plain, unchanged, changed = ([found["probabilities"] for found in method.predict(images)]
                                 for method in (erm, same, mixed))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, unchanged, strict=True))
    assert not torch.allclose(plain[0], changed[0], atol=1e-4)
    torch.testing.assert_close(mixed.predict(images[:1])[0]["probabilities"], changed[0])
    assert not [m for m in mixed.modules() if m._forward_pre_hooks], "nothing stays behind"


def test_mixnorm_needs_batch_normalisation() -> None:
    with pytest.raises(ParameterError, match="this backbone has none"):
        build_method(spec("mixnorm", ["a"], backbone="test_vit"))


def test_guidance_loss_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    z, expert = (torch.randn(5, 3, generator=generator, requires_grad=True) for _ in range(2))
    loss = guidance_loss(z, expert)
    q = expert.exp() / expert.exp().sum(1, keepdim=True)
    torch.testing.assert_close(loss, ((z - q) ** 2).sum(1) / 3, rtol=1e-5, atol=1e-5)
    loss.sum().backward()
    assert expert.grad is None


def test_lfme_expert_per_domain() -> None:
    method = build_method(spec("lfme", ["a", "b", "c"])).eval()
    assert isinstance(method, LFME)
    for shift, expert in enumerate(method.experts):
        expert.head[1].weight.data.zero_()
        expert.head[1].bias.data.fill_(float(shift))
    inputs = method.model.prepare([torch.rand(3, 32, 32)] * 4, [{"labels": torch.tensor([1])}] * 4)
    assert method._expert_logits(inputs, torch.tensor([2, 0, 1, 2]))[:, 0].tolist() == [2, 0, 1, 2]


def test_lfme_needs_two_domains() -> None:
    with pytest.raises(ParameterError, match=r"there is one domain .*--pipeline=leave_one_out"):
        build_method(spec("lfme", ["a"]))
