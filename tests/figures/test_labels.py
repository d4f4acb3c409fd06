"""Labels on drawn images: readable, inside the image, and not on top of one another."""

from __future__ import annotations

import torch

from dg_project.figures.labels import Label, _covered, _places, write_labels
from dg_project.figures.overlays import draw_prediction, drawn_scale


def test_labels_have_a_filled_background() -> None:
    image = torch.full((3, 100, 200), 90, dtype=torch.uint8)
    drawn = write_labels(image, [Label("car 0.90", (20, 40, 80, 90), (255, 159, 28))], size=12)
    changed = (drawn != image).any(0).nonzero()
    assert changed[:, 0].max() < 41  # above the box
    assert changed[:, 1].min() == 20
    assert (torch.tensor([255, 159, 28]) == drawn.flatten(1).T).all(1).sum() > 200


def test_labels_of_one_place_do_not_cover_one_another() -> None:
    image = torch.zeros(3, 120, 160, dtype=torch.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    alone = [(write_labels(image, [Label("truck 0.5", (50, 50, 110, 90), colour)]) > 0).any(0).sum()
             for colour in colours]
    together = write_labels(image, [Label("truck 0.5", (50, 50, 110, 90), colour) for colour in colours])
    assert (together > 0).any(0).sum() >= sum(alone) - 2 * 60  # two of them may share an edge


def test_places_stay_inside_the_image() -> None:
    for place in _places((150, -5, 170, 3), 60, 14, 160, 120):
        assert place[0] >= 0
        assert place[1] >= 0
        assert place[2] <= 160
        assert place[3] <= 120
    assert _covered((0, 0, 10, 10), [(5, 5, 20, 20), (30, 30, 40, 40)]) == 25


def test_small_images_are_enlarged() -> None:
    assert [drawn_scale(torch.zeros(3, 10, width)) for width in (96, 320, 640, 1280, 4000)] == [3, 3, 2, 1, 1]
    empty = {"boxes": [], "labels": [], "scores": []}
    assert draw_prediction(torch.zeros(3, 192, 320, dtype=torch.uint8), empty, ["car"]).shape == (3, 576, 960)
