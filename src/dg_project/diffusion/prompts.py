"""Prompts with choices: ``a {rainy|foggy} street`` stands for one street per word."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from dg_project.config import PseudoDomain, VocabularyParams
from dg_project.core.errors import ParameterError

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


_DRIVEN = ("driving", "turning", "waiting", "parked")
ACTIONS: dict[str, tuple[str, ...]] = {
    "person": ("walking", "standing", "crossing the road"),
    "rider": ("riding", "waiting"),
    "bike": ("moving", "parked"),
    "motor": ("moving", "parked"),
    **dict.fromkeys(("car", "truck", "bus", "train"), _DRIVEN),
}
"""What a class may be doing; a class that is not here is "seen"."""


def describe(words: VocabularyParams, names: Iterable[str], seed: int) -> str:
    """Return the prompt of one image, its words drawn by ``seed``.

    >>> describe(VocabularyParams(weather=["foggy"], time=["dusk"]), [], 0)
    'a cityscape photo of a foggy street during dusk.'

    Args:
        words: what to draw from.
        names: class names of the image's objects; each class is named once, ``words.objects`` of them at most.
        seed: the image's own seed.
    """
    draw = random.Random(seed)
    weather, time = draw.choice(words.weather), draw.choice(words.time)
    place = f"{_article(weather)} {weather} {words.scene}"
    sentences = [f"a cityscape photo of {place} during {time}."]
    present = sorted(set(names))
    for name in draw.sample(present, min(words.objects, len(present))):
        action = draw.choice(words.actions.get(name) or ACTIONS.get(name, ("seen",)))
        sentences.append(f"{_article(name).capitalize()} {name} is {action} in {place} during {time}.")
    return " ".join(sentences)


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


HOUR_PHRASES = {"night": "at night", "dusk": "at dusk", "day": "during the day"}
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
    caption += f" {HOUR_PHRASES[draw.choice(hours)]}" if hours else ""
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
    return [hour for hour in HOUR_PHRASES if re.search(rf"\b{hour}(?:time)?\b", text)]


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
