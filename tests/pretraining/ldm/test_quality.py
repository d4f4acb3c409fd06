"""Recall of kept boxes, the weather classifier, the sheet."""

from __future__ import annotations

import math

import pytest
import torch

from dg_project.pretraining.ldm.quality import WeatherClassifier, contact_sheet, kept_box_recall, weather_words

IMAGE = torch.zeros(3, 32, 48, dtype=torch.uint8)
BOXES = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])


@pytest.mark.parametrize(
    ("seen", "names", "expected"),
    [
        ([[0, 0, 10, 10], [20, 0, 30, 10]], ["car", "bus"], 1.0),
        ([[0, 0, 10, 10], [20, 0, 30, 10]], ["car", "car"], 0.5),
        ([[0, 0, 10, 4]], ["car"], 0.0),
        ([[0, 0, 10, 9], [0, 1, 10, 10]], ["car", "car"], 0.5),
        ([], [], 0.0),
    ],
)
def test_recall(seen: list, names: list[str], expected: float) -> None:
    detections = (torch.tensor(seen, dtype=torch.float32).reshape(-1, 4), names)
    assert kept_box_recall(lambda image: detections, [IMAGE], [BOXES], [["car", "bus"]]) == expected


def test_recall_one_box_per_detection() -> None:
    twice = torch.cat([BOXES[:1], BOXES[:1]])
    assert kept_box_recall(lambda image: (BOXES[:1], ["car"]), [IMAGE], [twice], [["car", "car"]]) == 0.5


def test_recall_without_boxes_is_nan() -> None:
    assert math.isnan(kept_box_recall(lambda image: (BOXES, ["car", "car"]), [IMAGE], [torch.zeros(0, 4)], [[]]))


def test_weather_words() -> None:
    assert weather_words("a city street at dusk in rain and light fog, wet road") == {
        "hour": "dusk",
        "rain": True,
        "fog": True,
        "snow": False,
    }
    assert weather_words("a cityscape photo of a misty street during daytime")["fog"]
    assert weather_words("a cityscape photo of a rainy street during night")["rain"]


def test_weather_classifier_night_and_fog() -> None:
    generator = torch.Generator().manual_seed(0)

    def frames(low: int, high: int) -> list[torch.Tensor]:
        return [torch.randint(low, high, (3, 32, 48), generator=generator).to(torch.uint8) for _ in range(12)]

    images = frames(0, 255) + frames(0, 40) + frames(190, 210)
    captions = ["a street by day"] * 12 + ["a street at night"] * 12 + ["a street by day in fog"] * 12
    classifier = WeatherClassifier(images[::2], captions[::2])
    assert classifier.accuracy(images[1::2], captions[1::2]) == {"hour": 1.0, "fog": 1.0}
    wrong = classifier.accuracy(
        images[1::2], ["a street at night in fog"] * 6 + ["a street by day"] * 6 + ["a street at night"] * 6
    )
    assert max(wrong.values()) < 0.5


def test_contact_sheet_size() -> None:
    red = IMAGE.clone()
    red[0] = 255
    sheet = contact_sheet([[IMAGE, red], [red, IMAGE]], ["a", "b\nc"], width=48)
    assert sheet.size == (100, 32 + 2 * 34)
    assert sheet.getpixel((74, 48)) == (255, 0, 0)
    assert sheet.getpixel((24, 48)) == (0, 0, 0)
