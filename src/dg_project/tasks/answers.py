"""What a model says at the same places of two views of an image, and how far the two answers are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """Answers at R places of N images: pixels, proposals or whole images, as the task has them.

    Attributes:
        logits: ``(R, C)`` float32.
        image: ``(R,)`` int64, image of each place.
        places: what ``TaskModel.answers`` needs to ask another view at the same places.
        deltas: ``(P, 4)`` box deltas of the object's class at the P places on objects; None if the task has no boxes.
        masks: ``(P, h, w)`` mask logits of the object's class at these places; None if the task has no masks.
        object_image: ``(P,)`` int64, image of each of these places; None without ``deltas``.
    """

    logits: Tensor
    image: Tensor
    places: Any = None
    deltas: Tensor | None = None
    masks: Tensor | None = None
    object_image: Tensor | None = None


def kl_divergence(reference: Tensor, logits: Tensor) -> Tensor:
    """Return ``KL(softmax(reference) ‖ softmax(logits))`` of each row, (R,), of logits (R, C)."""
    return F.kl_div(logits.log_softmax(1), reference.log_softmax(1), reduction="none", log_target=True).sum(1)


def divergence(reference: Answers, answers: Answers, weight: Tensor) -> dict[str, Tensor]:
    """Return the distances between two sets of answers at the same places.

    ``class``: ``mean_R w KL(p_ref ‖ p)``; ``box``: ``mean_P w smoothL1(d − d_ref)``, the mean over the four deltas;
    ``mask``: ``mean_P w BCE(m, sigmoid m_ref)``. The divisors are numbers of places, so an image of weight 0.5 counts
    half.

    Args:
        reference: the answers to agree with. Detach them for a distance without gradient to them.
        answers: the answers to change.
        weight: ``(N,)`` weight of each image.
    """
    found = {"class": _mean(kl_divergence(reference.logits, answers.logits), weight[answers.image])}
    if answers.deltas is not None and reference.deltas is not None and answers.object_image is not None:
        distance = F.smooth_l1_loss(answers.deltas, reference.deltas, beta=1 / 9, reduction="none").mean(1)
        found["box"] = _mean(distance, weight[answers.object_image])
    if answers.masks is not None and reference.masks is not None and answers.object_image is not None:
        distance = F.binary_cross_entropy_with_logits(answers.masks, reference.masks.sigmoid(), reduction="none")
        found["mask"] = _mean(distance.mean((1, 2)), weight[answers.object_image])
    return found


def _mean(distance: Tensor, weight: Tensor) -> Tensor:
    """Return ``sum(w d) / n`` over n places, 0 if there are none."""
    return (distance * weight).sum() / max(len(distance), 1)
