"""OA-Mix: regions with chains of their own, faint objects that survive."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dg_project.ops import oa_mix as module
from dg_project.ops.oa_mix import augmix, draw_boxes, oa_mix, random_boxes, saliency, smooth_edge


def scene() -> tuple[Tensor, Tensor]:
    """An even ground with noise, one bright object and one that hardly differs."""
    image = 0.4 + 0.01 * torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    image[:, 10:30, 10:30] = 0.95
    image[:, 40:56, 60:84] += 0.02
    return image, torch.tensor([[10.0, 10, 30, 30], [60, 40, 84, 56]])


def test_view_depends_on_the_seed_alone() -> None:
    image, boxes = scene()
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(oa_mix(image, boxes))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert all(view.shape == image.shape and view.min() >= 0 and view.max() <= 1 for view in made)


def test_no_pixel_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    # Operations that do nothing leave the image as it is, whatever the regions and shares.
    monkeypatch.setattr(module, "OPERATIONS", (lambda image, _: image,))
    image, boxes = scene()
    torch.testing.assert_close(oa_mix(image, boxes), image, atol=1 / 255, rtol=0)


def test_faint_objects_change_by_half_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    image, boxes = scene()
    salient = saliency(image)
    means = [float(salient[int(y0):int(y1), int(x0):int(x1)].mean()) for x0, y0, x1, y1 in boxes.tolist()]
    assert means[0] > 1 > means[1]
    assert float(salient.mean()) == pytest.approx(1, abs=1e-4)
    monkeypatch.setattr(module, "augmix", lambda pixels: torch.full(pixels.shape, 255.0))
    monkeypatch.setattr(module, "random_boxes", lambda height, width: torch.zeros(0, 4))
    shares = []
    for seed in range(40):
        torch.manual_seed(seed)
        view = oa_mix(image, boxes)
        centre = (slice(None), slice(45, 51), slice(68, 76))
        shares.append(float(((view - image) / (1 - image))[centre].mean()))
    assert max(shares) <= 0.5
    assert max(shares) > 0.4


def test_mixture_of_equal_chains_is_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPERATIONS", (lambda image, _: image,))
    pixels = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(augmix(pixels), pixels.float())


def test_boxes_are_inside_and_as_large_as_asked() -> None:
    torch.manual_seed(0)
    boxes = draw_boxes(500, 100, 200, (0.005, 0.1), (1 / 3, 3.0))
    wide, tall = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 200
    assert boxes[:, 3].max() <= 100
    area, ratio = wide * tall / 20_000, tall / wide
    assert 0.0049 < area.min() < 0.01
    assert 0.09 < area.max() < 0.1001
    assert 0.33 < ratio.min() < 0.4
    assert 2.5 < ratio.max() < 3.01
    assert {len(random_boxes(64, 96)) for _ in range(50)} == {3, 4, 5}


def test_edges_are_smooth() -> None:
    edge = smooth_edge(40, 20)
    assert edge.shape == (1, 40, 20)
    assert float(edge[0, 20, 10]) == 1
    assert float(edge[0, 0, 10]) == pytest.approx(0.125)  # half a pixel of the four of a tenth
    assert torch.equal(edge, edge.flip(1))
