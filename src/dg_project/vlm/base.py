"""What a teacher is: a frozen model that puts images and sentences into one space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from string import Formatter

import torch
from torch import Tensor

from dg_project.core.errors import ParameterError


class Teacher(ABC):
    """A frozen vision-language model, in evaluation mode; it computes where the images are.

    Attributes:
        name: what error messages call it.
        size: length D of its embeddings.
        scale: what cosines are multiplied by before the softmax, ``e^s`` of the model's own training.
        classes: all that it has heard of, or None where any word may be asked for.
    """

    name: str
    size: int
    scale: float
    classes: tuple[str, ...] | None = None

    @abstractmethod
    def images(self, images: Sequence[Tensor]) -> Tensor:
        """Return unit vectors (N, D) of images (3, h, w) in [0, 1] of any size."""

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors (n, D) of sentences, on the CPU."""

    def logits(self, embedded: Tensor, texts: Tensor) -> Tensor:
        """Return class logits (N, C) of embedded images (N, D) and class sentences (C, D)."""
        with torch.autocast(embedded.device.type, enabled=False):  # scaled cosines would lose their last digits
            return self.scale * embedded @ texts.T


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
