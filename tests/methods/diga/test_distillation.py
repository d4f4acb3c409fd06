"""The symmetric distillation against its definition, and the strong view."""

from __future__ import annotations

import torch

from dg_project.methods.diga.distillation import strong_view, symmetric_loss


def test_symmetric_loss_formula() -> None:
    torch.manual_seed(0)
    of_x, of_view, seen, seen_in_view = (torch.randn(2, 3, 4, 5) for _ in range(4))

    def entropy(teacher: torch.Tensor, student: torch.Tensor) -> float:
        total = 0.0
        for n in range(2):
            for y in range(4):
                for x in range(5):
                    p, q = (z[n, :, y, x].exp() / z[n, :, y, x].exp().sum() for z in (teacher, student))
                    total -= float((p * q.log()).sum())
        return total / 40

    expected = entropy(of_x, seen_in_view) + 0.5 * entropy(of_view, seen)
    got = symmetric_loss((of_x, of_view), (seen, seen_in_view))
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_strong_view_changes_only_colours() -> None:
    images = [torch.rand(3, 40, 60) for _ in range(8)]
    assert all(torch.equal(view, image) for view, image in zip(strong_view(images, 0.0), images, strict=True))
    torch.manual_seed(1)
    full = strong_view(images, 1.0)
    torch.manual_seed(1)
    for view, changed, image in zip(strong_view(images, 0.4), full, images, strict=True):
        torch.testing.assert_close(view, 0.4 * changed + 0.6 * image)
        assert view.min() >= 0
        assert view.max() <= 1
    edge = torch.zeros(3, 40, 60)
    edge[:, :, 30:] = 1.0  # geometry stays: a blur of 3 pixels reaches one column
    for view in strong_view([edge] * 8, 1.0):
        assert (view[:, :, 32:].mean() - view[:, :, :28].mean()) > 0.3
