"""Prompts with choices: ``a {rainy|foggy} street`` stands for one street per word."""

from __future__ import annotations

import random
import re

from dg_project.errors import ParameterError

_CHOICE = re.compile(r"\{([^{}]*)\}")

HOURS = {"at night": "night", "at dusk": "dusk", "during the day": "daytime", "on a clear sunny day": "daytime"}
"""How a caption of the corpus names the hour -> the word of the scene prompt."""
ADJECTIVES = {
    "light rain": "lightly rainy",
    "heavy rain": "very rainy",
    "rain": "rainy",
    "falling snow": "snowy",
    "light fog": "misty",
    "dense fog": "densely foggy",
    "fog": "foggy",
}
"""How a caption names what is in the air -> the adjective of the scene prompt."""


def expand(prompt: str, seed: int) -> str:
    """Return the prompt with every ``{a|b|c}`` replaced by one of its words, drawn by ``seed``.

    >>> expand("a {rainy} street", 0)
    'a rainy street'

    Raises:
        ParameterError: a brace is not closed, or a choice is empty.
    """
    draw = random.Random(seed)

    def pick(match: re.Match[str]) -> str:
        words = [word.strip() for word in match.group(1).split("|")]
        if not any(words):
            raise ParameterError(
                f"the prompt '{prompt}' has an empty choice '{match.group(0)}': write words between the "
                "braces, separated by '|'"
            )
        return draw.choice(words)

    text = _CHOICE.sub(pick, prompt)
    if "{" in text or "}" in text:
        raise ParameterError(f"the prompt '{prompt}' has an unmatched or nested brace: choices are written {{a|b|c}}")
    return " ".join(text.split())


def choices(prompt: str) -> list[list[str]]:
    """Return the words of every choice in the prompt, in order."""
    return [[word.strip() for word in match.split("|")] for match in _CHOICE.findall(prompt)]


def paraphrase(caption: str, seed: int) -> str:
    """Return the caption or, every other time, the same content as a scene prompt of the paper.

    The corpus says "a city street at night in heavy rain, wet road"; the paper's prompts say "a cityscape photo of a
    very rainy street during night". Training on both teaches the tiny LDM both. A caption of another form is returned
    as it is.
    """
    draw = random.Random(seed)
    head, *rest = caption.split(", ")
    hour = next((words for words in HOURS if words in head), None)
    if hour is None or draw.random() < 0.5:
        return caption
    air = [ADJECTIVES.get(part, "") for part in head.partition(" in ")[2].split(" and ")]
    words = [word for word in air if word] or _sky(hour, rest)
    if hour == "at night" and draw.random() < 0.5:
        words = ["dark", *words]
    ground = [part for part in rest if part.endswith("road")] if draw.random() < 0.7 else []
    article = "an" if words and words[0] == "overcast" else "a"
    scene = f"a cityscape photo of {article} {' and '.join(words)} street during {HOURS[hour]}"
    return ", ".join([scene, *ground])


def _sky(hour: str, rest: list[str]) -> list[str]:
    if "overcast sky" in rest:
        return ["overcast"]
    return ["clear"] if "clear sky" in rest or "sunny" in hour else []
