"""The dual prompts of the DRSF paper: one sentence for the scene, one for each kind of object in it.

The sentences are the paper's; of its words the text names "rainy, dark, foggy" and the three times of day. What an
object may be doing is ours, and so is the order: the objects' sentences follow the scene's in one prompt, because an
image-to-image model listens to one text.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from dg_project.parameters import VocabularyParams

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
