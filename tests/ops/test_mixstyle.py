"""MixStyle against its definition."""

from __future__ import annotations

import torch

from dg_project.ops.mixstyle import StyleMixer, mix_style


def test_mix_style_statistics_and_content() -> None:
    features = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)) * 2 + 1
    partner, weight = torch.tensor([1, 2, 0]), torch.tensor([1.0, 0.25, 0.0])
    mixed = mix_style(features, partner, weight)
    for i in range(3):
        for c in range(4):
            own, other = features[i, c], features[partner[i], c]
            mean = weight[i] * own.mean() + (1 - weight[i]) * other.mean()
            deviation = weight[i] * own.std() + (1 - weight[i]) * other.std()
            torch.testing.assert_close(mixed[i, c], (own - own.mean()) / own.std() * deviation + mean,
                                       rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mixed[0], features[0], rtol=1e-4, atol=1e-4)


def test_mix_style_detaches_statistics() -> None:
    features = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    mix_style(features, torch.tensor([1, 0]), torch.tensor([0.0, 0.0])).sum().backward()
    ratio = features.detach().std((2, 3))[[1, 0]] / features.detach().std((2, 3))
    assert features.grad is not None
    torch.testing.assert_close(features.grad, ratio.view(2, 1, 1, 1).expand(2, 1, 2, 2), rtol=1e-4, atol=1e-4)


def test_style_mixer_training_and_probability() -> None:
    features = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert StyleMixer(1.0, 0.1).eval()(features) is features
    torch.manual_seed(0)
    mixer = StyleMixer(0.5, 0.1).train()
    acted = sum(mixer(features) is not features for _ in range(200))
    assert 70 < acted < 130
