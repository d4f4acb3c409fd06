"""RSC's masks against their definition."""

from __future__ import annotations

import torch

from dg_project.methods.rsc import dependent_images, dominant_features


def test_dominant_features() -> None:
    gradient = torch.tensor([[0.1, 0.9, -2.0, 0.5], [3.0, 1.0, 2.0, 0.0]])
    assert dominant_features(gradient, 0.5).tolist() == [[False, True, False, True], [True, False, True, False]]
    assert not dominant_features(gradient, 0.0).any()
    assert dominant_features(gradient, 1.0).all()


def test_dependent_images() -> None:
    before, after = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.8, 0.1, 0.9])
    assert dependent_images(before, after, 1 / 3).tolist() == [False, True, False]
    assert dependent_images(before, after, 2 / 3).tolist() == [True, True, False]
    assert not dependent_images(before, after, 0.0).any()
