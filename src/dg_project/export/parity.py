"""Compare the predictions of an exported model with those of the trained model on real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dg_project.tasks.base import Prediction

TOLERANCE = 1e-4
"""Largest allowed difference of scores, probabilities, boxes (relative to the longer image side), and pixel shares."""


@dataclass
class ParityResult:
    """Largest differences between two models.

    Attributes:
        images: number of images compared.
        objects: number of detections compared.
        largest: largest difference by name: ``boxes`` (relative to the longer image side), ``scores``,
            ``probabilities``, ``masks`` and ``mask`` (share of the image's pixels); ``logits`` and ``mask_cells``, the
            values behind the pixels, for graphs that return them. Infinite if the detections do not correspond.
    """

    images: int = 0
    objects: int = 0
    largest: dict[str, float] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether every difference is within the tolerance.

        If ``logits`` or ``mask_cells`` are known, they decide: a pixel between two equal classes may flip.
        """
        free = {"mask", "masks"} if {"logits", "mask_cells"} & self.largest.keys() else set()
        return all(value <= TOLERANCE for name, value in self.largest.items() if name not in free)

    def add(self, name: str, difference: float) -> None:
        """Update the largest difference of ``name``; NaN counts as infinite."""
        finite = difference if difference == difference else float("inf")
        self.largest[name] = max(self.largest.get(name, 0.0), finite)

    def compare(self, trained: Prediction, exported: Prediction, size: tuple[int, int]) -> None:
        """Compare two predictions of one image of ``size`` (height, width)."""
        self.images += 1
        if "boxes" in trained:
            self._objects(trained, exported, size)
        for name in {"mask", "probabilities"} & trained.keys():
            self.add(name, _distance(trained[name], exported[name]))

    def _objects(self, trained: Prediction, exported: Prediction, size: tuple[int, int]) -> None:
        """Compare detections in order; only detections with equal scores may be reordered."""
        self.objects += len(trained["scores"])
        if len(trained["scores"]) != len(exported["scores"]):
            self.add("boxes", float("inf"))
            return
        order = match_order(trained, exported)
        exported = {name: value[order] for name, value in exported.items()}
        wrong = not torch.equal(trained["labels"], exported["labels"])
        self.add("boxes", float("inf") if wrong else max_difference(trained["boxes"], exported["boxes"]) / max(size))
        self.add("scores", max_difference(trained["scores"], exported["scores"]))
        if "masks" in trained and len(order):
            flipped = (trained["masks"] != exported["masks"]).flatten(1).sum(1)
            self.add("masks", float(flipped.max()) / (size[0] * size[1]))


def measure_parity(trained: Callable[[Sequence[Tensor]], list[Prediction]],
                   exported: Callable[[Sequence[Tensor]], list[Prediction]], images: Sequence[Tensor]) -> ParityResult:
    """Compare two models image by image.

    Args:
        trained: ``predict`` of the trained model, for images (3, h, w) in [0, 1].
        exported: ``predict`` of the exported model.
        images: real images (3, h, w) in [0, 1].
    """
    result = ParityResult()
    with torch.no_grad():
        for image in images:
            result.compare(trained([image])[0], exported([image])[0], (image.shape[-2], image.shape[-1]))
    return result


def match_order(trained: Prediction, exported: Prediction) -> Tensor:
    """Return indices that reorder exported detections with equal scores as in the trained model's prediction."""
    order = list(range(len(trained["scores"])))
    for k in order:
        def distance(j: int, k: int = k) -> tuple[bool, float]:
            return (bool(trained["labels"][k] != exported["labels"][order[j]]),
                    max_difference(trained["boxes"][k], exported["boxes"][order[j]]))

        tied = [j for j in range(k, len(order))
                if abs(float(exported["scores"][order[j]] - trained["scores"][k])) <= TOLERANCE]
        if tied:
            best = min(tied, key=distance)
            order[k], order[best] = order[best], order[k]
    return torch.tensor(order, dtype=torch.int64)


def max_difference(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference; 0 for empty tensors."""
    return float((a - b).abs().max()) if a.numel() else 0.0


def _distance(a: Tensor, b: Tensor) -> float:
    """Return the largest difference of floats, or the share of integers that differ."""
    return max_difference(a, b) if a.is_floating_point() else float((a != b).float().mean())
