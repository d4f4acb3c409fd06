"""Prompts: every choice comes up, a seed decides, mistakes are named."""

from __future__ import annotations

import pytest

from dg_project.diffusion.prompts import choices, expand
from dg_project.errors import ParameterError


def test_every_word_is_drawn_and_a_seed_decides() -> None:
    prompt = "a {rainy|dark|foggy} street during {daytime|dusk}"
    drawn = {expand(prompt, seed) for seed in range(60)}
    assert drawn == {f"a {w} street during {t}" for w in ("rainy", "dark", "foggy") for t in ("daytime", "dusk")}
    assert expand(prompt, 7) == expand(prompt, 7)


def test_an_empty_alternative_is_allowed_and_leaves_no_double_space() -> None:
    assert {expand("a {wet|} street", seed) for seed in range(20)} == {"a wet street", "a street"}


@pytest.mark.parametrize("prompt", ["a {rainy street", "a rainy} street", "a {rainy|{dark|dim}} street", "a {} street"])
def test_mistakes_are_named(prompt: str) -> None:
    with pytest.raises(ParameterError, match="prompt"):
        expand(prompt, 0)


def test_choices_are_listed_in_order() -> None:
    assert choices("a {rainy|foggy} street at {dusk|night}") == [["rainy", "foggy"], ["dusk", "night"]]
