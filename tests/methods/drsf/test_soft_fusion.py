"""Soft fusion of images against plain computations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dg_project.data.batches import Batch
from dg_project.methods.drsf.soft_fusion import restore_detail, soft_fusion


def picture(seed: int, height: int = 24, width: int = 32) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def batch() -> Batch:
    """A source image, a pseudo image with gate weight 0.5, and a row of a domain without origins."""
    return Batch([picture(0), picture(1), picture(2)], [{}] * 3, torch.tensor([0, 2, 3]), torch.tensor([4, 5, -1]),
                 torch.tensor([1.0, 0.5, 1.0]), origins=[None, picture(5), None])


def test_blend_labels_and_weight() -> None:
    torch.manual_seed(0)
    before, shares = batch(), []
    for _ in range(20):
        fused, labels = soft_fusion(before, ["blend"], 4, 4)
        share = labels[1, 2].item()
        torch.testing.assert_close(fused.images[1], share * picture(1) + (1 - share) * picture(5))
        assert labels[1].tolist() == pytest.approx([1 - share, 0, share, 0])
        assert fused.weight.tolist() == pytest.approx([1, share * 0.5 + 1 - share, 1])
        assert labels[[0, 2]].tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
        assert fused.images[0] is before.images[0]
        assert fused.images[2] is before.images[2]
        shares.append(share)
    assert min(shares) < 0.2 < 0.8 < max(shares)
    assert torch.equal(before.images[1], picture(1)), "the batch itself is left alone"


def test_looks_equally_likely() -> None:
    torch.manual_seed(0)
    drawn = []
    for _ in range(300):
        fused, labels = soft_fusion(batch(), ["pseudo", "blend", "detail"], 4, 4)
        same = torch.equal(fused.images[1], picture(1))
        drawn.append("pseudo" if same else "blend" if labels[1, 2] < 1 else "detail")
    assert all(70 < drawn.count(look) < 130 for look in ("pseudo", "blend", "detail"))


def test_soft_fusion_without_origins() -> None:
    for plain in (Batch([picture(0)], [{}], torch.tensor([1]), torch.tensor([0]), torch.ones(1)), batch()):
        fused, labels = soft_fusion(plain, ["pseudo"], 4, 4)
        assert fused is plain
        assert labels.argmax(1).tolist() == plain.domain_id.tolist()


def test_restore_detail() -> None:
    fine = torch.stack([(torch.arange(32) % 2).float().expand(24, 32)] * 3) - 0.5  # stripes of one pixel
    origin, blurred = 0.5 + 0.2 * fine, torch.full((3, 24, 32), 0.4)
    torch.testing.assert_close(restore_detail(origin, origin, 4), origin, atol=0.01, rtol=0)
    # Where no detail is left, the least share of it is added.
    restored = restore_detail(blurred, origin, 4)
    torch.testing.assert_close(restored, 0.4 + 0.3 * 0.2 * fine, atol=0.01, rtol=0)


def test_restore_detail_keeps_colours() -> None:
    pseudo, origin = picture(0) * 0.3, picture(1)
    restored = restore_detail(pseudo, origin, 4)
    torch.testing.assert_close(restored.mean((1, 2)), pseudo.mean((1, 2)), atol=0.02, rtol=0)
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_restore_detail_tiny_crop() -> None:
    assert restore_detail(picture(0, 3, 2), picture(1, 3, 2), 8).shape == (3, 3, 2)
