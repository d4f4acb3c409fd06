"""The interface of a teacher (a frozen vision-language model), and prompts from class names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from string import Formatter

import torch
from torch import Tensor

from dg_project.core.errors import ParameterError

SLOT = "class"


class Teacher(ABC):
    """A frozen vision-language model in evaluation mode; it runs on the device of its input images.

    Attributes:
        name: name used in error messages.
        size: embedding length D.
        scale: factor of cosines before the softmax, ``e^s`` of the model's own training.
        classes: the only classes it was trained on, or None if any word may be used.
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
        """Return class logits (N, C) of image embeddings (N, D) and class sentences (C, D)."""
        with torch.autocast(embedded.device.type, enabled=False):  # low precision would lose digits of scaled cosines
            return self.scale * embedded @ texts.T


def class_prompts(template: str, classes: Sequence[str]) -> list[str]:
    """Return one sentence per class.

    >>> class_prompts("this is a photo of a {class}", ["traffic_light"])
    ['this is a photo of a traffic light']

    Raises:
        ParameterError: the template has no ``{class}``, or a class name cannot be used in a sentence: it is empty, has
            braces or line breaks, or reads like another class.
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
