"""Captions composed of several weathers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dg_project.config import PseudoDomain, VocabularyParams
from dg_project.diffusion.prompts import compose, prompt_of


@pytest.mark.parametrize(("prompts", "captions"), [
    (["a city street in dense fog", "a city street at night"], {"a city street at night in dense fog"}),
    (["a city street during the day in {light fog|dense fog}", "a city street at night, {clear|overcast} sky"],
     {"a city street at night in light fog", "a city street at night in dense fog"}),
    (["a city street in dense fog", "a city street at night in light rain"],
     {"a city street at night in light rain and dense fog, wet road"}),
    (["a city street in the rain at dusk", "a city street at night"],
     {f"a city street at dusk in {rain}, wet road" for rain in ("rain", "heavy rain")}),
    (["a cityscape photo of a foggy street during dusk.", "a cityscape photo of a snowy street during dusk."],
     {f"a cityscape photo of a street at dusk in falling snow and {fog}, snowy road" for fog in ("fog", "dense fog")}),
    (["a street in a sandstorm", "a city street at night."], {"a street in a sandstorm, a city street at night"}),
])
def test_compose_joins_weather_words(prompts: list[str], captions: set[str]) -> None:
    assert {compose(prompts, seed) for seed in range(30)} == captions


def test_compose_gives_corpus_captions() -> None:
    known = set(pd.read_csv(Path(__file__).parents[2] / "data/01_raw/streets_corpus/captions.csv")["caption"])
    made = compose(["a city street in light fog", "a city street at night", "a city street in heavy rain"], 0)
    assert made in known


def test_prompt_of_vocabulary() -> None:
    words = VocabularyParams(weather=["rainy"], time=["night"])
    assert prompt_of(PseudoDomain(vocabulary=words), 0) == "a cityscape photo of a rainy street during night."
