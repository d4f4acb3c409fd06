"""Class names become the sentences that a teacher compares images with."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter

from dg_project.errors import ParameterError

SLOT = "class"


def class_prompts(template: str, classes: Sequence[str]) -> list[str]:
    """Return one sentence per class.

    >>> class_prompts("this is a photo of a {class}", ["traffic_light"])
    ['this is a photo of a traffic light']

    Raises:
        ParameterError: the template has no ``{class}``, or a class name makes no sentence: it is empty, has braces or
            line breaks, or reads like another class.
    """
    _check_template(template)
    words = [" ".join(name.replace("_", " ").split()) for name in classes]
    for name, word in zip(classes, words, strict=True):
        if not any(letter.isalnum() for letter in word) or set(name) & set("{}\n\r\t"):
            raise ParameterError(f"data.classes: the class name {name!r} breaks the prompt '{template}'; give it a "
                                 "name of letters or digits, without braces and line breaks (data.rename maps the data "
                                 "set's own name to it)")
    if twice := next((word for i, word in enumerate(words) if word.lower() in map(str.lower, words[:i])), None):
        raise ParameterError(f"data.classes: two classes read '{twice}' in the prompt '{template}', so no teacher can "
                             "tell them apart; rename one")
    return [template.replace(f"{{{SLOT}}}", word) for word in words]


def _check_template(template: str) -> None:
    try:
        slots = [slot for _, slot, _, _ in Formatter().parse(template) if slot is not None]
    except ValueError:
        slots = []
    if slots != [SLOT]:
        raise ParameterError(f"the prompt '{template}' must have exactly one {{{SLOT}}}, such as "
                             f"'this is a photo of a {{{SLOT}}}'")
