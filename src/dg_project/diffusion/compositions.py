"""Prompts that say several weathers at once: the words of some domains in one caption."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from dg_project.diffusion.prompts import ADJECTIVES, expand
from dg_project.diffusion.vocabulary import describe
from dg_project.parameters import PseudoDomain

HOURS = {"night": "at night", "dusk": "at dusk", "day": "during the day"}
"""What a prompt may say of the hour -> how a caption says it. A prompt that names none leaves it to the others."""
AIR = {
    "rain": ("light rain", "rain", "heavy rain"),
    "snow": ("falling snow",),
    "fog": ("light fog", "fog", "dense fog"),
}
"""What may be in the air, in the order of a caption, and how much of it; the last two are drawn where none is said."""
ROADS = {"snow": "snowy road", "rain": "wet road"}


def compose(prompts: Sequence[str], seed: int) -> str:
    """Return one caption with the weather words of all prompts.

    The hour is that of the first prompt that names another than the day. How much rain or fog there is, and what else
    contradicts itself, is drawn by ``seed``.

    >>> compose(["a city street in dense fog", "a city street at night"], 0)
    'a city street at night in dense fog'

    A prompt whose words are not known (another language, "in a sandstorm") is not taken apart: the prompts then follow
    one another, which is what large text encoders are used to.

    Args:
        prompts: one of each domain, the most important first; ``{a|b}`` draws a word.
        seed: of the draws.
    """
    draw = random.Random(seed)
    texts = [expand(prompt, draw.randrange(2**31)) for prompt in prompts]
    if not all(_hours(text) or _air(text) for text in texts):
        return ", ".join(dict.fromkeys(text.rstrip(".") for text in texts))
    said_hours = [found for text in texts if (found := _hours(text))]
    hours = next((found for found in said_hours if found != ["day"]), said_hours[0] if said_hours else [])
    said = [_air(text) for text in texts]
    air = {kind: draw.choice([words for found in said for words in found.get(kind, ())])
           for kind in AIR if any(kind in found for found in said)}
    caption = _head(texts[0])
    caption += f" {HOURS[draw.choice(hours)]}" if hours else ""
    caption += f" in {' and '.join(air.values())}" if air else ""
    road = next((words for kind, words in ROADS.items() if kind in air), None)
    return f"{caption}, {road}" if road else caption


def weather(text: str) -> frozenset[str]:
    """Return the kinds of weather and the hours that a text names: ``{"night", "fog"}``."""
    return frozenset([*_hours(text), *_air(text)])


def prompt_of(domain: PseudoDomain, seed: int) -> str:
    """Return the prompt of a domain; the scene sentence where a vocabulary stands for it."""
    return describe(domain.vocabulary, [], seed) if domain.vocabulary else domain.prompt or ""


def _hours(text: str) -> list[str]:
    return [hour for hour in HOURS if re.search(rf"\b{hour}(?:time)?\b", text)]


def _air(text: str) -> dict[str, tuple[str, ...]]:
    """Return what is in the air -> the words for how much of it may be."""
    found = {}
    for kind, amounts in AIR.items():
        if re.search(rf"\b{kind}", text):
            said = tuple(words for words in amounts if " " in words and words in text)
            found[kind] = said or amounts[-2:]
    return found


def _head(text: str) -> str:
    """Return what a prompt shows, without its weather: ``a city street``."""
    match = re.match(r"(.*?)(?=,| (?:in|at|during|on|under|with)\b)", text)
    head = match.group(1) if match else text
    for word in sorted(ADJECTIVES.values(), key=len, reverse=True):
        head = head.replace(f"{word} ", "")
    return head
