"""The dual prompts: the paper's sentences, words drawn by the image's seed, one weather and time for all of them."""

from __future__ import annotations

import re

from dg_project.config import VocabularyParams
from dg_project.diffusion.prompts import describe


def test_every_word_is_drawn_and_a_seed_decides() -> None:
    words = VocabularyParams()
    drawn = {describe(words, [], seed) for seed in range(200)}
    assert drawn == {f"a cityscape photo of a {weather} street during {time}."
                     for weather in ("rainy", "dark", "foggy") for time in ("daytime", "dusk", "night")}
    assert describe(words, ["car"], 3) == describe(words, ["car"], 3)


def test_an_objects_sentence_speaks_of_the_same_weather_scene_and_time() -> None:
    words = VocabularyParams(scene="highway", actions={"car": ["skidding"]})
    form = re.compile(r"a cityscape photo of a (\w+) highway during (\w+)\. "
                      r"A car is skidding in a \1 highway during \2\.")
    assert all(form.fullmatch(describe(words, ["car", "car"], seed)) for seed in range(20))


def test_at_most_so_many_classes_each_once() -> None:
    words, names = VocabularyParams(objects=2), ["car", "bus", "person", "car", "truck"]
    texts = [describe(words, names, seed) for seed in range(60)]
    assert all(text.count(" is ") == 2 for text in texts)
    assert {re.search(r"\. A (\w+) is", text).group(1) for text in texts} == {"car", "bus", "person", "truck"}
    assert describe(VocabularyParams(objects=0), names, 0).count(".") == 1


def test_articles_and_unknown_classes() -> None:
    words = VocabularyParams(weather=["overcast"], time=["dusk"])
    assert describe(words, ["awning"], 0) == ("a cityscape photo of an overcast street during dusk. "
                                              "An awning is seen in an overcast street during dusk.")


def test_the_order_of_the_objects_does_not_matter() -> None:
    assert describe(VocabularyParams(), ["car", "bus"], 5) == describe(VocabularyParams(), ["bus", "car"], 5)
