"""Mixing of images and masks by class."""

from __future__ import annotations

import torch

from dg_project.methods.diga.class_mix import half_of_the_classes, mixed, translations


def test_half_of_the_classes() -> None:
    torch.manual_seed(0)
    masks = torch.tensor([0, 1, 2, 3, 4, 255]).repeat(6, 1).expand(20, 6, 6)
    chosen = half_of_the_classes(masks)
    assert chosen[masks == 255].all()
    assert (chosen[:, 0, :5].sum(1) == 2).all()
    assert (chosen == chosen[:, :1]).all(), "a class is chosen as a whole"
    assert chosen[:, 0, :5].any(0).all(), "each class has its turn"
    assert not half_of_the_classes(torch.zeros(1, 2, 2, dtype=torch.int64)).any()


def test_mixed_images_and_masks() -> None:
    chosen = torch.tensor([[[True, False]]])
    here, elsewhere = torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
    torch.testing.assert_close(mixed(chosen, here, elsewhere), torch.tensor([1.0, 0.0]).expand(1, 3, 1, 2))
    assert mixed(chosen, torch.full((1, 1, 2), 7), torch.full((1, 1, 2), 255)).tolist() == [[[7, 255]]]


def test_translations_share_the_pair() -> None:
    domain = torch.tensor([0, 1, 2, 0, 0, 2])
    pair = torch.tensor([4, 4, 4, 9, 7, 7])
    drawn = torch.stack([translations(domain, pair) for _ in range(40)])
    assert set(drawn[:, 0].tolist()) == {1, 2}
    assert set(drawn[:, 1].tolist()) == {3}, "without a pseudo image, the row itself"
    assert set(drawn[:, 2].tolist()) == {5}
