"""Entropy, decoupling, reassembly and their losses against plain computations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dg_project.methods.drsf.dfdr import DFDR, Parts, align_loss, channel_entropy, ranking_loss


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(vector: Tensor) -> Tensor:
    return vector / vector.square().sum().sqrt()


def test_channel_entropy() -> None:
    features = random(2, 3, 4, 5)
    entropy = channel_entropy(features)
    for b in range(2):
        for c in range(3):
            weights = [math.exp(v) for v in features[b, c].flatten().tolist()]
            p = [w / sum(weights) for w in weights]
            assert entropy[b, c].item() == pytest.approx(-sum(q * math.log(q) for q in p) / math.log(20), abs=1e-5)
    diffuse, focused = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    focused[..., 0, 0] = 100
    assert channel_entropy(diffuse).item() == pytest.approx(1)
    assert channel_entropy(focused).item() == pytest.approx(0, abs=1e-6)


def test_decoupling_and_reassembly() -> None:
    features = random(3, 8, 4, 5)
    module = DFDR(8, reduction=4).train()
    with module.exchanging() as exchange:
        out = module(features)
    parts = exchange.parts
    assert parts is not None
    torch.testing.assert_close(parts.shared + parts.private, features)
    inputs = torch.cat([features.mean((2, 3)), channel_entropy(features)], 1)
    attention = module.decoupling(inputs)[..., None, None]
    assert ((attention > 0) & (attention < 1)).all()
    torch.testing.assert_close(parts.shared, attention * features)
    pooled = torch.cat([parts.shared.mean((2, 3)), parts.private.mean((2, 3))], 1)
    recalibration = module.recalibration(pooled)[..., None, None]
    torch.testing.assert_close(out, parts.shared + recalibration * parts.private)
    torch.testing.assert_close(module(features), out)
    torch.testing.assert_close(module.eval()(features), out)
    assert module.exchange is None


def test_dfdr_starts_near_identity() -> None:
    features = random(3, 16, 4, 5)
    module = DFDR(16)
    assert ((module(features) - features).abs() <= 0.03 * features.abs() + 1e-6).all()
    torch.nn.init.constant_(module.recalibration[2].bias, 50.0)
    torch.testing.assert_close(module(features), features)


def exchanged(name: str) -> tuple[Tensor, Tensor, Parts, Tensor]:
    """Return the output for three rows without exchange, and with ``name`` exchanging rows 0 and 2.

    Then the parts, and r ``(3, C, 1, 1)``.
    """
    features = random(3, 8, 4, 5)
    module = DFDR(8).train()
    own = module(features)
    with module.exchanging(**{name: torch.tensor([2, 1, 0])}) as exchange:
        lent = module(features)
    parts = exchange.parts
    assert parts is not None
    r = module.recalibration(torch.cat([parts.shared.mean((2, 3)), parts.private.mean((2, 3))], 1))[..., None, None]
    return own, lent, parts, r


def test_private_from_gives_private_part() -> None:
    own, crossed, parts, r = exchanged("private_from")
    torch.testing.assert_close(crossed[1], own[1])
    torch.testing.assert_close(crossed[0], parts.shared[0] + r[0] * parts.private[2])


def test_style_from_gives_only_mean_and_deviation() -> None:
    own, restyled, parts, r = exchanged("style_from")
    torch.testing.assert_close(restyled[1], own[1])
    borrowed = (restyled[0] - parts.shared[0]) / r[0]
    for channel, lender, mine in zip(borrowed, parts.private[2], parts.private[0], strict=True):
        assert torch.isclose(channel.mean(), lender.mean(), atol=1e-4)
        assert torch.isclose(channel.std(), lender.std(), atol=1e-4)
        assert torch.corrcoef(torch.stack([channel.flatten(), mine.flatten()]))[0, 1] > 0.9999


def test_style_exchange_gradient() -> None:
    module = DFDR(8).train()
    features = random(2, 8, 4, 5)
    features[0, 0] = 0
    features.requires_grad_()
    with module.exchanging(style_from=torch.tensor([1, 1])):
        module(features)[0].square().sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert (features.grad[1] == 0).all()


def plain_align(shared: Tensor, pairs: list[tuple[int, int]]) -> float:
    total = 0.0
    for s, k in pairs:
        distances = [(unit(shared[s, :, y, x]) - unit(shared[k, :, y, x])).square().sum().item()
                     for y in range(shared.shape[2]) for x in range(shared.shape[3])]
        total += sum(distances) / len(distances) / len(pairs)
    return total


def plain_cosine(shared: Tensor, private: Tensor) -> float:
    return sum((unit(a.mean((1, 2))) @ unit(b.mean((1, 2)))).item() ** 2 for a, b in
               zip(shared, private, strict=True)) / len(shared)


# Two source images with two and one pseudo image; the sources do not come first.
PAIR, DOMAIN = torch.tensor([7, 7, 3, 3, 7]), torch.tensor([2, 0, 0, 1, 1])


def test_align_loss_mean_over_pairs() -> None:
    shared, private = random(5, 4, 3, 2), random(5, 4, 3, 2, seed=1)
    expected = plain_align(shared, [(1, 0), (2, 3), (1, 4)]) + 0.1 * plain_cosine(shared, private)
    assert align_loss(shared, private, PAIR, DOMAIN, 0.1).item() == pytest.approx(expected, rel=1e-5)


def test_align_loss_without_pair() -> None:
    shared, private = random(4, 4, 3, 2), random(4, 4, 3, 2, seed=1)
    pair, domain = torch.tensor([0, 1, 0, 9]), torch.tensor([0, 0, 1, 1])
    pooled = [unit(row.mean((1, 2))) for row in shared]
    unpaired = (pooled[3] - (pooled[0] + pooled[1]) / 2).square().sum().item()
    expected = (plain_align(shared, [(0, 2)]) + unpaired) / 2
    assert align_loss(shared, private, pair, domain, 0.0).item() == pytest.approx(expected, rel=1e-5)


def test_align_loss_cosine_only() -> None:
    private = random(2, 4, 3, 2, seed=1)
    same = random(1, 4, 3, 2).repeat(2, 1, 1, 1)
    pair = torch.tensor([0, 0])
    for domain in (torch.tensor([0, 1]), torch.tensor([0, 0])):
        loss = align_loss(same, private, pair, domain, 0.5).item()
        assert loss == pytest.approx(0.5 * plain_cosine(same, private), rel=1e-5)


def test_ranking_loss() -> None:
    high, middle, low = torch.tensor(0.9), torch.tensor(0.5), torch.tensor(0.2)
    expected = math.log1p(math.exp(0.2 - 0.5)) + math.log1p(math.exp(0.5 - 0.9))
    assert ranking_loss(low, middle, high).item() == pytest.approx(expected)
    assert ranking_loss(low, middle, high) < ranking_loss(high, middle, low)
