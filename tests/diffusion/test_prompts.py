"""Prompts: choices, seeds, errors, paraphrases."""

from __future__ import annotations

import pytest

from dg_project.core.errors import ParameterError
from dg_project.diffusion.prompts import choices, expand, paraphrase


def test_words_are_drawn_by_seed() -> None:
    prompt = "a {rainy|dark|foggy} street during {daytime|dusk}"
    drawn = {expand(prompt, seed) for seed in range(60)}
    assert drawn == {f"a {w} street during {t}" for w in ("rainy", "dark", "foggy") for t in ("daytime", "dusk")}
    assert expand(prompt, 7) == expand(prompt, 7)


def test_expand_empty_alternative() -> None:
    assert {expand("a {wet|} street", seed) for seed in range(20)} == {"a wet street", "a street"}


@pytest.mark.parametrize("prompt", ["a {rainy street", "a rainy} street", "a {rainy|{dark|dim}} street", "a {} street"])
def test_expand_invalid_prompt_error(prompt: str) -> None:
    with pytest.raises(ParameterError, match="prompt"):
        expand(prompt, 0)


def test_choices_in_order() -> None:
    assert choices("a {rainy|foggy} street at {dusk|night}") == [["rainy", "foggy"], ["dusk", "night"]]


def test_paraphrase_scene_prompts() -> None:
    def said(caption: str) -> set[str]:
        return {paraphrase(caption, seed) for seed in range(40)}

    assert "a cityscape photo of a very rainy and misty street during night, wet road" in said(
        "a city street at night in heavy rain and light fog, wet road"
    )
    assert said("a city street on a clear sunny day") == {
        "a city street on a clear sunny day",
        "a cityscape photo of a clear street during daytime",
    }
    assert "a cityscape photo of an overcast street during dusk" in said("a city street at dusk, overcast sky")
    assert "a cityscape photo of a dark and foggy street during night" in said("a city street at night in fog")


def test_paraphrase_keeps_other_captions() -> None:
    assert {paraphrase("two dogs", seed) for seed in range(10)} == {"two dogs"}
