"""What a teacher is: a frozen model that puts images and sentences into one space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


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
