"""Who gets how many images: numbers."""

from __future__ import annotations

import math

import pytest

from dg_project.experiments.closed_loop.allocation import divide, raised, shares, shrink


def test_shrink_few_probes_towards_mean() -> None:
    found = shrink({"fog": 0.2, "night": 0.8, "snow": math.nan}, {"fog": 8, "night": 24, "snow": 0}, prior=8)
    assert found == pytest.approx({"fog": (8 * 0.2 + 8 * 0.5) / 16, "night": (24 * 0.8 + 8 * 0.5) / 32, "snow": 0.5})
    assert shrink({"fog": 0.2, "night": 0.8}, {"fog": 8, "night": 8}, 0) == {"fog": 0.2, "night": 0.8}


def test_shares_are_a_softmax_above_a_floor() -> None:
    found = shares({"fog": 0.5, "night": 0.6}, temperature=0.1, floor=0.4)
    assert found["night"] == pytest.approx(0.2 + 0.6 * math.e / (1 + math.e))
    assert sum(found.values()) == pytest.approx(1)
    assert min(shares({"fog": 0.0, "night": 1e3}, 0.1, 0.4).values()) == pytest.approx(0.2)
    assert shares({"fog": 0.1, "night": 0.9}, 0.1, 1.0) == {"fog": 0.5, "night": 0.5}


@pytest.mark.parametrize(("total", "parts", "most", "expected"), [
    (10, {"a": 1, "b": 1, "c": 1}, None, {"a": 4, "b": 3, "c": 3}),
    (10, {"a": 0.7, "b": 0.2, "c": 0.1}, None, {"a": 7, "b": 2, "c": 1}),
    (10, {"a": 8, "b": 1, "c": 1}, 4, {"a": 4, "b": 3, "c": 3}),
    (9, {"a": 8, "b": 1, "c": 0}, 4, {"a": 4, "b": 4, "c": 1}),
    (0, {"a": 1}, None, {"a": 0}),
])
def test_whole_images_sum_to_the_total(total: int, parts: dict, most: int | None, expected: dict) -> None:
    assert divide(total, parts, most) == expected


def test_divide_more_images_than_room() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        divide(9, {"a": 1, "b": 1}, 4)


def test_the_hardest_domain_gets_stronger() -> None:
    difficulty = {"fog": 0.4, "rain": 0.6, "night": 0.8}
    assert [raised(0.7, value, difficulty, 0.1) for value in difficulty.values()] == pytest.approx([0.7, 0.7, 0.8])
    assert raised(0.95, 0.8, difficulty, 0.1) == 1
    assert raised(0.7, 0.5, {"fog": 0.5, "night": 0.5}, 0.1) == 0.7
