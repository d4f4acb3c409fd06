"""Prompts: random choices, sentences from a vocabulary, and captions of the corpus that are rephrased or combined."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from dg_project.config import PseudoDomain, VocabularyParams
from dg_project.core.errors import ParameterError

_CHOICE = re.compile(r"\{([^{}]*)\}")

_DRIVEN = ("driving", "turning", "waiting", "parked")
ACTIONS: dict[str, tuple[str, ...]] = {
    "person": ("walking", "standing", "crossing the road"),
    "rider": ("riding", "waiting"),
    "bike": ("moving", "parked"),
    "motor": ("moving", "parked"),
    **dict.fromkeys(("car", "truck", "bus", "train"), _DRIVEN),
}
"""Class -> possible actions; all other classes are "seen"."""

HOURS = {"at night": "night", "at dusk": "dusk", "during the day": "daytime", "on a clear sunny day": "daytime"}
"""Hour phrase of a corpus caption -> hour word of the scene prompt."""
ADJECTIVES = {
    "light rain": "lightly rainy",
    "heavy rain": "very rainy",
    "rain": "rainy",
    "falling snow": "snowy",
    "light fog": "misty",
    "dense fog": "densely foggy",
    "fog": "foggy",
}
"""Weather phrase of a corpus caption -> adjective of the scene prompt."""

HOUR_PHRASES = {"night": "at night", "dusk": "at dusk", "day": "during the day"}
"""Hour word of a prompt -> phrase of a composed caption. A prompt without an hour takes that of the others."""
AIR = {
    "rain": ("light rain", "rain", "heavy rain"),
    "snow": ("falling snow",),
    "fog": ("light fog", "fog", "dense fog"),
}
"""Weather in the order of a caption -> its intensities. If a prompt names none, one of the last two is drawn."""
ROADS = {"snow": "snowy road", "rain": "wet road"}


# Random choices


def expand(prompt: str, seed: int) -> str:
    """Replace every ``{a|b|c}`` in a prompt with one of its alternatives, drawn by ``seed``.

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


def expand_at(prompt: str, position: float) -> str:
    """Replace every choice in a prompt with the word at a position, 0 (first) to 1 (last); see ``expand``.

    >>> expand_at("a street in {light fog|fog|dense fog}", 1.0)
    'a street in dense fog'
    """
    def pick(match: re.Match[str]) -> str:
        words = match.group(1).split("|")
        return words[round(max(0.0, min(1.0, position)) * (len(words) - 1))]

    return expand(_CHOICE.sub(pick, prompt), 0)


def choices(prompt: str) -> list[list[str]]:
    """Return the alternatives of every choice in the prompt, in order."""
    return [[word.strip() for word in match.split("|")] for match in _CHOICE.findall(prompt)]


# Sentences from a vocabulary


def describe(words: VocabularyParams, names: Iterable[str], seed: int) -> str:
    """Return the prompt of one image, with words drawn by ``seed``.

    >>> describe(VocabularyParams(weather=["foggy"], time=["dusk"]), [], 0)
    'a cityscape photo of a foggy street during dusk.'

    Args:
        words: vocabulary.
        names: class names of the image's objects; each class is mentioned once, up to ``words.objects`` classes.
        seed: seed of the image.
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


def prompt_of(domain: PseudoDomain, seed: int) -> str:
    """Return a domain's prompt, or the scene sentence of its vocabulary."""
    return describe(domain.vocabulary, [], seed) if domain.vocabulary else domain.prompt or ""


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


# Captions of the corpus


def paraphrase(caption: str, seed: int) -> str:
    """Return the caption or, half of the time, the same content as a scene prompt of the paper.

    The corpus says "a city street at night in heavy rain, wet road"; the paper's prompts say "a cityscape photo of a
    very rainy street during night". Training on both teaches the tiny LDM both. Captions of another form are returned
    unchanged.
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


def compose(prompts: Sequence[str], seed: int) -> str:
    """Return one caption with the weather words of all prompts.

    The hour is that of the first prompt whose hour is not day. The amount of rain or fog, and anything contradictory,
    is drawn by ``seed``.

    >>> compose(["a city street in dense fog", "a city street at night"], 0)
    'a city street at night in dense fog'

    If a prompt has no known words (another language, "in a sandstorm"), the prompts are joined with commas instead,
    which large text encoders are used to.

    Args:
        prompts: one prompt per domain, the most important first; may have choices ``{a|b}``.
        seed: random seed.
    """
    draw = random.Random(seed)
    texts = [expand(prompt, draw.randrange(2**31)) for prompt in prompts]
    if not all(weather(text) for text in texts):
        return ", ".join(dict.fromkeys(text.rstrip(".") for text in texts))
    named_hours = [hours for text in texts if (hours := _hours(text))]
    hours = next((hours for hours in named_hours if hours != ["day"]), named_hours[0] if named_hours else [])
    named_air = [_air(text) for text in texts]
    air = {kind: draw.choice([words for named in named_air for words in named.get(kind, ())])
           for kind in AIR if any(kind in named for named in named_air)}
    caption = _head(texts[0])
    caption += f" {HOUR_PHRASES[draw.choice(hours)]}" if hours else ""
    caption += f" in {' and '.join(air.values())}" if air else ""
    road = next((words for kind, words in ROADS.items() if kind in air), None)
    return f"{caption}, {road}" if road else caption


def weather(text: str) -> frozenset[str]:
    """Return the kinds of weather and the hours mentioned in a text: ``{"night", "fog"}``."""
    return frozenset([*_hours(text), *_air(text)])


def _sky(hour: str, rest: list[str]) -> list[str]:
    if "overcast sky" in rest:
        return ["overcast"]
    return ["clear"] if "clear sky" in rest or "sunny" in hour else []


def _hours(text: str) -> list[str]:
    return [hour for hour in HOUR_PHRASES if re.search(rf"\b{hour}(?:time)?\b", text)]


def _air(text: str) -> dict[str, tuple[str, ...]]:
    """Return the kinds of weather mentioned in a text -> possible phrases."""
    found = {}
    for kind, amounts in AIR.items():
        if re.search(rf"\b{kind}", text):
            named = tuple(words for words in amounts if " " in words and words in text)
            found[kind] = named or amounts[-2:]
    return found


def _head(text: str) -> str:
    """Return the subject of a prompt without its weather: ``a city street``."""
    match = re.match(r"(.*?)(?=,| (?:in|at|during|on|under|with)\b)", text)
    head = match.group(1) if match else text
    for word in sorted(ADJECTIVES.values(), key=len, reverse=True):
        head = head.replace(f"{word} ", "")
    return head
