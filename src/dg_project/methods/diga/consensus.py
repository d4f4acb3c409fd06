"""Pseudo labels without a threshold (DiGA): a label counts where the classifier and the features agree on it.

``docs/methods/diga.md`` says what the paper and its released configuration document, and what is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dg_project.config import Fraction, Params
from dg_project.tasks.segmentation import IGNORE, Segmenter


class ConsensusParams(Params):
    """When target images join, and what their labels are taken from."""

    start: Fraction = Field(0.5, description="share of the training that is warm-up: no target image is looked at")
    rounds: int = Field(1, ge=1, description="of equal length; each starts with labels of the student as it is then")
    centroid_images: int = Field(100, ge=1, description="a class's centroid is the plain mean of that many images, "
                                                        "then a moving average")
    centroid_momentum: Fraction = Field(1e-4, description="share of one more image in that average")
    min_pixels: int = Field(5, ge=1, description="cells of the decoder that a class must have in an image to count")


def class_means(features: Tensor, labels: Tensor, n_classes: int, least: int) -> tuple[Tensor, Tensor]:
    """Return the mean feature of every class in every image.

    Args:
        features: (N, C, h, w).
        labels: (N, h, w) int64; 255 counts nowhere.
        n_classes: K.
        least: pixels that a class must have in an image.

    Returns:
        (N, K, C) means, and (N, K) bool: which classes have that many pixels.
    """
    one_hot = (labels.flatten(1)[:, None] == torch.arange(n_classes, device=labels.device)[:, None]).float()
    pixels = one_hot.sum(2)
    with torch.autocast(features.device.type, enabled=False):  # sums over a map outgrow a short format
        sums = one_hot @ features.float().flatten(2).transpose(1, 2)
    return sums / pixels.clamp(min=1)[..., None], pixels >= least


class Centroids(nn.Module):
    """What the features of each class are on average in each domain; they stand still within a step.

    ``collect`` gathers, ``commit`` takes in what was gathered: n image means of a class with the sum S change its
    centroid c of N images to ``(N c + S) / (N + n)`` while N is small, then to ``k c + (1 - k) S / n`` with
    ``k = (1 - momentum)^n``, as n single updates by any order of the images would on average.

    Args:
        n_domains: D.
        n_classes: K.
        channels: C.
        params: see there.
    """

    vectors: Tensor
    seen: Tensor
    sums: Tensor
    waiting: Tensor

    def __init__(self, n_domains: int, n_classes: int, channels: int, params: ConsensusParams) -> None:
        super().__init__()
        self.params = params
        for name, shape in (("vectors", (n_domains, n_classes, channels)), ("seen", (n_domains, n_classes)),
                            ("sums", (n_domains, n_classes, channels)), ("waiting", (n_domains, n_classes))):
            self.register_buffer(name, torch.zeros(shape))

    def reset(self) -> None:
        """Start again without centroids."""
        for buffer in self.buffers():
            buffer.zero_()

    def plain_means(self) -> Tensor:
        """Return (D, K) bool: which centroids are still plain means."""
        return self.seen < self.params.centroid_images

    def accumulate(self, features: Tensor, labels: Tensor, domains: Tensor) -> None:
        """Gather the means of features (N, C, h, w) over the pixels of each class in ``labels`` (N, h, w).

        Args:
            features: see above.
            labels: see above; 255 counts nowhere.
            domains: (N,) int64, 0..D-1.
        """
        means, enough = class_means(features, labels, self.seen.shape[1], self.params.min_pixels)
        self.sums.index_add_(0, domains, means * enough[..., None])
        self.waiting.index_add_(0, domains, enough.float())

    def update(self) -> None:
        """Take in what was gathered, in all processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.sums)
            torch.distributed.all_reduce(self.waiting)
        total = (self.seen + self.waiting).clamp(min=1)
        kept = torch.where(self.plain_means(), self.seen / total, (1 - self.params.centroid_momentum) ** self.waiting)
        mean = self.sums / self.waiting.clamp(min=1)[..., None]
        moved = kept[..., None] * self.vectors + (1 - kept)[..., None] * mean
        self.vectors.copy_(torch.where(self.waiting[..., None] > 0, moved, self.vectors))
        self.seen += self.waiting
        self.sums.zero_()
        self.waiting.zero_()

    def nearest(self, features: Tensor, domains: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (N, *size) int64: ``argmax_k softmax_k(-||f - c_k||)``, the softmax brought to ``size``.

        A class without centroid is never the nearest; in a domain without any, every pixel is 255.

        Args:
            features: (N, C, h, w).
            domains: (N,) int64, whose centroids each image is compared with.
            size: height, width.
        """
        count, _, height, width = features.shape
        known = self.seen[domains] > 0
        points = features.float().flatten(2).transpose(1, 2)
        distance = torch.cdist(points, self.vectors[domains], compute_mode="donot_use_mm_for_euclid_dist")
        weight = (-distance).masked_fill(~known[:, None], -torch.inf).softmax(2)
        maps = weight.transpose(1, 2).reshape(count, -1, height, width)
        nearest = F.interpolate(maps, size, mode="bilinear").argmax(1)
        return nearest.masked_fill(~known.any(1)[:, None, None], IGNORE)


def bilateral_consensus(predicted: Tensor, nearest: Tensor) -> Tensor:
    """Return ``predicted`` where ``nearest`` is the same class, 255 elsewhere: masks (N, H, W)."""
    return predicted.masked_fill(predicted != nearest, IGNORE)


class BilateralConsensus(nn.Module):
    """Labels of unlabelled images: by the student as it was when the round began, and by the teacher's features.

    Each target domain has centroids of its own: a class looks different by night and in fog, and the mean of both is
    near neither. ``expect`` says which domains there are.

    Args:
        student: ``Method.predictor()``.
        params: see there.
    """

    round: Tensor
    targets: list[str]
    centroids: Centroids

    def __init__(self, student: nn.ModuleDict, params: ConsensusParams) -> None:
        super().__init__()
        self.params = params
        self.labeller = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("round", torch.zeros((), dtype=torch.int64))
        self.set_targets([])

    def set_targets(self, targets: Sequence[str]) -> None:
        """Make room for the centroids of these target domains; what was gathered before is forgotten."""
        model = self.model
        self.targets = list(targets)
        centroids = Centroids(len(self.targets), len(model.classes), model.classifier.in_channels, self.params)
        self.centroids = centroids.to(model.classifier.weight.device)

    @property
    def model(self) -> Segmenter:
        """The labeller's task model."""
        model = self.labeller["model"]
        assert isinstance(model, Segmenter)
        return model

    def train(self, mode: bool = True) -> Self:
        """Switch the mode; the labeller stays in evaluation mode."""
        super().train(mode)
        self.labeller.eval()
        return self

    def start_round(self, student: nn.ModuleDict, progress: float) -> bool:
        """Start the round of this moment if it has not started: copy the student, and forget the centroids.

        Args:
            student: ``Method.predictor()``.
            progress: share of the training that is done, ``start`` or more.

        Returns:
            Whether a round started.
        """
        share = (progress - self.params.start) / max(1 - self.params.start, 1e-9)
        current = 1 + min(int(share * self.params.rounds), self.params.rounds - 1)
        if current <= int(self.round):
            return False
        self.labeller.load_state_dict(student.state_dict())
        self.centroids.reset()
        self.round.fill_(current)
        return True

    @torch.no_grad()
    def label(self, teacher: Segmenter, images: Tensor, domains: Sequence[str]) -> Tensor:
        """Return the masks (N, H, W) int64 that both sides agree on, and gather the features for the centroids.

        A cell counts for its class where the teacher sees that class too; the consensus must agree once the centroid
        is a moving average.

        Args:
            teacher: whose features are looked at.
            images: (N, 3, H, W), normalised.
            domains: N names of target domains, all of which ``expect`` was told.
        """
        places = torch.tensor([self.targets.index(name) for name in domains], device=images.device)
        size = (images.shape[-2], images.shape[-1])
        predicted = F.interpolate(self.model.look(images)[0], size, mode="bilinear").argmax(1)
        logits, features = teacher.look(images)
        agreed = bilateral_consensus(predicted, self.centroids.nearest(features, places, size))
        seen = logits.argmax(1)
        small = F.interpolate(agreed[:, None].float(), seen.shape[-2:], mode="nearest-exact")[:, 0].long()
        young = self.centroids.plain_means()[places[:, None, None], seen]
        self.centroids.accumulate(features, seen.masked_fill(~((small == seen) | young), IGNORE), places)
        return agreed
