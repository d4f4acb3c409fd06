"""Captions from folder names."""

from __future__ import annotations

import pytest

from dg_project.core.errors import DataError
from dg_project.diffusion.captions import caption, check_distinct, every, fill

TEMPLATE = "a {domain} of a {class}"


@pytest.mark.parametrize(("domain", "name", "expected"), [
    ("sketch", "dog", "a sketch of a dog"),
    ("art_painting", "elephant", "an art painting of an elephant"),
    ("Real World", "Alarm_Clock", "a real world of an alarm clock"),
    ("location_38", "bobcat", "a location 38 of a bobcat"),
])
def test_caption(domain: str, name: str, expected: str) -> None:
    assert caption(TEMPLATE, domain, name) == expected


def test_fill_leaves_other_names() -> None:
    assert fill("a {source} of a {class} in {rain|snow}", source="art_painting") == \
        "an art painting of a {class} in {rain|snow}"


def test_equal_captions_error() -> None:
    check_distinct(TEMPLATE, ["photo", "sketch"], ["dog", "hot_dog"])
    with pytest.raises(DataError, match=r"'photo/hot_dog' and 'photo/hot-dog' have the same caption 'a photo of a hot"):
        check_distinct(TEMPLATE, ["photo"], ["hot_dog", "hot-dog"])
    with pytest.raises(DataError, match="rename one of them"):
        check_distinct(TEMPLATE, ["line_art", "Line Art"], ["dog"])


def test_every_caption_once() -> None:
    assert every([TEMPLATE, "a {domain}"], ["photo"], ["cat", "dog"]) == [
        "a photo", "a photo of a cat", "a photo of a dog"]
