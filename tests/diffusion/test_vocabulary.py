"""Prompts from a vocabulary: the paper's sentences, drawn by seed, with one weather and time."""

from __future__ import annotations

import re

from dg_project.config import VocabularyParams
from dg_project.diffusion.prompts import describe


def test_words_are_drawn_by_seed() -> None:
    words = VocabularyParams()
    drawn = {describe(words, [], seed) for seed in range(200)}
    assert drawn == {f"a cityscape photo of a {weather} street during {time}."
                     for weather in ("rainy", "dark", "foggy") for time in ("daytime", "dusk", "night")}
    assert describe(words, ["car"], 3) == describe(words, ["car"], 3)


def test_describe_repeats_weather_scene_time() -> None:
    words = VocabularyParams(scene="highway", actions={"car": ["skidding"]})
    form = re.compile(r"a cityscape photo of a (\w+) highway during (\w+)\. "
                      r"A car is skidding in a \1 highway during \2\.")
    assert all(form.fullmatch(describe(words, ["car", "car"], seed)) for seed in range(20))


def test_describe_limits_classes() -> None:
    words, names = VocabularyParams(objects=2), ["car", "bus", "person", "car", "truck"]
    texts = [describe(words, names, seed) for seed in range(60)]
    assert all(text.count(" is ") == 2 for text in texts)
    assert {re.search(r"\. A (\w+) is", text).group(1) for text in texts} == {"car", "bus", "person", "truck"}
    assert describe(VocabularyParams(objects=0), names, 0).count(".") == 1


def test_articles_and_unknown_classes() -> None:
    words = VocabularyParams(weather=["overcast"], time=["dusk"])
    assert describe(words, ["awning"], 0) == ("a cityscape photo of an overcast street during dusk. "
                                              "An awning is seen in an overcast street during dusk.")


def test_describe_ignores_object_order() -> None:
    assert describe(VocabularyParams(), ["car", "bus"], 5) == describe(VocabularyParams(), ["bus", "car"], 5)
