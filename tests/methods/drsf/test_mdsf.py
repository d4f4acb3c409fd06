"""Mixing, gradient reversal and the adversarial loss against plain computations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dg_project.methods.drsf.mdsf import (
    Adversary,
    ImageDiscriminator,
    InstanceDiscriminator,
    adversarial_loss,
    domain_log_loss,
    fuse,
    mixing_weights,
)
from dg_project.ops.gradient_reversal import reverse_gradient


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_reverse_gradient() -> None:
    value = random(3, 2).requires_grad_()
    out = reverse_gradient(value, 0.25)
    assert torch.equal(out, value)
    (out * torch.tensor([1.0, 2.0])).sum().backward()
    assert torch.equal(value.grad, -0.25 * torch.tensor([1.0, 2.0]).expand(3, 2))


def test_mixing_weights_per_source_image() -> None:
    torch.manual_seed(0)
    pair, domain = torch.tensor([4, 4, 8, 4, 8, 5]), torch.tensor([0, 2, 0, 3, 1, 0])
    weights = mixing_weights(pair, domain, 1.0)
    assert weights.shape == (2, 6)
    assert ((weights > 0) == torch.tensor([[1, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0]], dtype=torch.bool)).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))


def test_mixing_weights_uniform() -> None:
    torch.manual_seed(0)
    draws = torch.stack([mixing_weights(torch.zeros(3).long(), torch.arange(3), 1.0)[0] for _ in range(2000)])
    # Dirichlet(1, 1, 1): mean 1/3, variance 1/18.
    torch.testing.assert_close(draws.mean(0), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    torch.testing.assert_close(draws.var(0), torch.full((3,), 1 / 18), atol=0.008, rtol=0)


def test_mixing_weights_repeated_domain() -> None:
    weights = mixing_weights(torch.tensor([1, 1, 1]), torch.tensor([0, 0, 1]), 1.0)
    assert weights[0, 1] == 0
    assert weights[0].sum() == pytest.approx(1)
    assert mixing_weights(torch.tensor([1, 2]), torch.tensor([0, 1]), 1.0).shape == (0, 2)


def test_fuse() -> None:
    rows, weights = random(3, 2, 4, 5), torch.tensor([[0.2, 0.0, 0.8], [0.5, 0.5, 0.0]])
    fused = fuse(rows, weights)
    torch.testing.assert_close(fused[0], 0.2 * rows[0] + 0.8 * rows[2])
    torch.testing.assert_close(fused[1], 0.5 * rows[0] + 0.5 * rows[1])


def plain_cross_entropy(logits: list[float], labels: list[float]) -> float:
    normaliser = math.log(sum(math.exp(v) for v in logits))
    return -sum(p * (v - normaliser) for v, p in zip(logits, labels, strict=True))


def cross_entropy(logits: Tensor, labels: Tensor) -> list[float]:
    """Cross entropy of each row (N, D, H, W), the mean over its positions."""
    return [sum(plain_cross_entropy(row[:, y, x].tolist(), soft.tolist()) for y in range(row.shape[1])
                for x in range(row.shape[2])) / row[0].numel() for row, soft in zip(logits, labels, strict=True)]


def test_domain_log_loss() -> None:
    logits, labels = random(2, 3), torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    expected = [plain_cross_entropy(a, b) for a, b in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert (labels * domain_log_loss(logits)).sum(1).tolist() == pytest.approx(expected, rel=1e-5)
    maps = random(2, 3, 2, 2, seed=1)
    assert (labels * domain_log_loss(maps)).sum(1).tolist() == pytest.approx(cross_entropy(maps, labels), rel=1e-5)


def test_adversarial_loss() -> None:
    logits, fused = random(4, 3, 2, 2), random(2, 3, 2, 2, seed=1)
    domains, mixed = torch.eye(3)[torch.tensor([0, 2, 0, 1])], torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    single, fusions = cross_entropy(logits, domains), cross_entropy(fused, mixed)
    expected = (single[0] + single[2]) / 2 + single[3] + single[1]
    found = adversarial_loss(logits, fused, domains, mixed).item()
    assert found == pytest.approx(expected + sum(fusions) / 2, rel=1e-5)
    assert adversarial_loss(logits, fused[:0], domains, mixed[:0]).item() == pytest.approx(expected, rel=1e-5)


def test_adversarial_loss_domain_share() -> None:
    logits = random(3, 2, 1, 1)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.75, 0.25]])
    loss = domain_log_loss(logits)
    source = (loss[0, 0] + loss[1, 0] + 0.75 * loss[2, 0]) / 2.75
    found = adversarial_loss(logits, logits[:0], labels, labels[:0])
    torch.testing.assert_close(found, source + 0.25 * loss[2, 1])  # not / 0.25: there is less than one image of it


def test_adversary_labels_of_fused_rows() -> None:
    pair, domain = torch.tensor([4, 4, 8, 4, 8, 5]), torch.tensor([0, 2, 0, 3, 1, 0])
    torch.manual_seed(0)
    features, labels, mix = random(6, 8), torch.eye(4)[domain], mixing_weights(pair, domain, 1.0)
    adversary = Adversary(InstanceDiscriminator(8, 4), weight=0.1)
    expected = torch.zeros(2, 4)
    for g in range(2):
        for row in range(6):
            expected[g, domain[row]] += mix[g, row]
    torch.testing.assert_close(expected.sum(1), torch.ones(2))
    logits, fused = adversary.discriminator(features), adversary.discriminator(fuse(features, mix))
    torch.testing.assert_close(adversary(features, labels, mix), adversarial_loss(logits, fused, labels, expected))


def test_discriminator_layers() -> None:
    image = ImageDiscriminator(8, 5)
    assert image(random(2, 8, 3, 4)).shape == (2, 5, 3, 4)
    kernels = [tuple(weight.shape) for weight in image.parameters() if weight.ndim == 4]
    assert kernels == [(512, 8, 1, 1), (5, 512, 1, 1)]
    instance = InstanceDiscriminator(16, 5)
    assert instance(random(7, 16)).shape == (7, 5)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in instance) == 3
