"""Mixing, gradient reversal and the adversarial loss against plain computations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dg_project.methods.drsf.mdsf import (
    ImageDiscriminator,
    InstanceDiscriminator,
    adversarial_loss,
    fuse,
    mixing_weights,
    soft_cross_entropy,
)
from dg_project.training.reversal import reverse_gradient


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_is_reversed_and_scaled() -> None:
    value = random(3, 2).requires_grad_()
    out = reverse_gradient(value, 0.25)
    assert torch.equal(out, value)
    (out * torch.tensor([1.0, 2.0])).sum().backward()
    assert torch.equal(value.grad, -0.25 * torch.tensor([1.0, 2.0]).expand(3, 2))


def test_mixing_weights_are_drawn_per_source_image_over_the_domains_present() -> None:
    torch.manual_seed(0)
    pair, domain = torch.tensor([4, 4, 8, 4, 8, 5]), torch.tensor([0, 2, 0, 3, 1, 0])
    weights, labels = mixing_weights(pair, domain, 4, 1.0)
    assert weights.shape == (2, 6)
    assert labels.shape == (2, 4)
    assert ((weights > 0) == torch.tensor([[1, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0]], dtype=torch.bool)).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    for g in range(2):
        expected = torch.zeros(4)
        for row in range(6):
            expected[domain[row]] += weights[g, row]
        torch.testing.assert_close(labels[g], expected)


def test_mixing_weights_are_uniform_on_the_simplex() -> None:
    torch.manual_seed(0)
    draws = torch.stack([mixing_weights(torch.zeros(3).long(), torch.arange(3), 3, 1.0)[0][0] for _ in range(2000)])
    # Dirichlet(1, 1, 1): mean 1/3, variance 1/18.
    torch.testing.assert_close(draws.mean(0), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    torch.testing.assert_close(draws.var(0), torch.full((3,), 1 / 18), atol=0.008, rtol=0)


def test_a_domain_that_comes_twice_is_mixed_once_and_lone_rows_are_not_mixed() -> None:
    weights, labels = mixing_weights(torch.tensor([1, 1, 1]), torch.tensor([0, 0, 1]), 2, 1.0)
    assert weights[0, 1] == 0
    assert weights[0].sum() == pytest.approx(1)
    assert labels[0].tolist() == pytest.approx([weights[0, 0].item(), weights[0, 2].item()])
    weights, labels = mixing_weights(torch.tensor([1, 2]), torch.tensor([0, 1]), 3, 1.0)
    assert weights.shape == (0, 2)
    assert labels.shape == (0, 3)


def test_fuse_is_the_weighted_sum_of_rows() -> None:
    rows, weights = random(3, 2, 4, 5), torch.tensor([[0.2, 0.0, 0.8], [0.5, 0.5, 0.0]])
    fused = fuse(rows, weights)
    torch.testing.assert_close(fused[0], 0.2 * rows[0] + 0.8 * rows[2])
    torch.testing.assert_close(fused[1], 0.5 * rows[0] + 0.5 * rows[1])


def plain_cross_entropy(logits: list[float], labels: list[float]) -> float:
    normaliser = math.log(sum(math.exp(v) for v in logits))
    return -sum(p * (v - normaliser) for v, p in zip(logits, labels, strict=True))


def test_soft_cross_entropy_of_vectors_and_maps() -> None:
    logits, labels = random(2, 3), torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    expected = [plain_cross_entropy(a, b) for a, b in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert soft_cross_entropy(logits, labels).tolist() == pytest.approx(expected, rel=1e-5)
    maps = random(2, 3, 2, 2, seed=1)
    for row in range(2):
        positions = [plain_cross_entropy(maps[row, :, y, x].tolist(), labels[row].tolist())
                     for y in range(2) for x in range(2)]
        assert soft_cross_entropy(maps, labels)[row].item() == pytest.approx(sum(positions) / 4, rel=1e-5)


def test_adversarial_loss_sums_the_domains_and_adds_the_fused_term() -> None:
    logits, fused = random(4, 3, 2, 2), random(2, 3, 2, 2, seed=1)
    domain, labels = torch.tensor([0, 2, 0, 1]), torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    single = soft_cross_entropy(logits, torch.eye(3)[domain]).tolist()
    expected = (single[0] + single[2]) / 2 + single[3] + single[1] + soft_cross_entropy(fused, labels).mean().item()
    assert adversarial_loss(logits, fused, domain, labels).item() == pytest.approx(expected, rel=1e-5)
    alone = adversarial_loss(logits, fused[:0], domain, labels[:0]).item()
    assert alone == pytest.approx(expected - soft_cross_entropy(fused, labels).mean().item(), rel=1e-5)


def test_discriminators_have_the_documented_layers() -> None:
    image = ImageDiscriminator(8, 5)
    assert image(random(2, 8, 3, 4)).shape == (2, 5, 3, 4)
    kernels = [tuple(weight.shape) for weight in image.parameters() if weight.ndim == 4]
    assert kernels == [(512, 8, 1, 1), (5, 512, 1, 1)]
    instance = InstanceDiscriminator(16, 5)
    assert instance(random(7, 16)).shape == (7, 5)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in instance) == 3
