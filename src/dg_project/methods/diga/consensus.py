"""Pseudo labels without a threshold (DiGA): keep labels on which the classifier and the features agree.

``docs/methods/diga.md`` marks what the paper and its released configuration document, and what is ours.
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
    """Warm-up, rounds and centroids."""

    start: Fraction = Field(0.5, description="share of the training that is warm-up, without target images")
    rounds: int = Field(1, ge=1, description="rounds of equal length; each starts with labels of the current student")
    centroid_images: int = Field(100, ge=1, description="a class centroid is the plain mean of this many images, then "
                                                        "a moving average")
    centroid_momentum: Fraction = Field(1e-4, description="weight of a new image in the moving average")
    min_pixels: int = Field(5, ge=1, description="least decoder cells of a class in an image to count")


def class_means(features: Tensor, labels: Tensor, n_classes: int, least: int) -> tuple[Tensor, Tensor]:
    """Return the mean feature of every class in every image.

    Args:
        features: (N, C, h, w).
        labels: (N, h, w) int64; 255 is ignored.
        n_classes: K.
        least: least number of pixels of a class in an image.

    Returns:
        (N, K, C) means, and (N, K) bool: which classes have that many pixels.
    """
    one_hot = (labels.flatten(1)[:, None] == torch.arange(n_classes, device=labels.device)[:, None]).float()
    pixels = one_hot.sum(2)
    with torch.autocast(features.device.type, enabled=False):  # sums over a map need float32
        sums = one_hot @ features.float().flatten(2).transpose(1, 2)
    return sums / pixels.clamp(min=1)[..., None], pixels >= least


class Centroids(nn.Module):
    """Mean feature of each class in each domain, constant within a step.

    ``accumulate`` sums, ``update`` applies the sums: n image means of a class with the sum S change its centroid c of
    N images to ``(N c + S) / (N + n)`` while N is small, then to ``k c + (1 - k) S / n`` with
    ``k = (1 - momentum)^n``, the average of n single updates over all orders of the images.

    Args:
        n_domains: D.
        n_classes: K.
        channels: C.
        params: sizes and momentum.
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
        """Delete all centroids."""
        for buffer in self.buffers():
            buffer.zero_()

    def plain_means(self) -> Tensor:
        """Return (D, K) bool: which centroids are still plain means."""
        return self.seen < self.params.centroid_images

    def accumulate(self, features: Tensor, labels: Tensor, domains: Tensor) -> None:
        """Add the mean features of each class to the sums.

        Args:
            features: (N, C, h, w).
            labels: (N, h, w) int64; 255 is ignored.
            domains: (N,) int64, 0..D-1.
        """
        means, enough = class_means(features, labels, self.seen.shape[1], self.params.min_pixels)
        self.sums.index_add_(0, domains, means * enough[..., None])
        self.waiting.index_add_(0, domains, enough.float())

    def update(self) -> None:
        """Apply the sums of all processes to the centroids."""
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
        """Return (N, *size) int64: ``argmax_k softmax_k(-||f - c_k||)``, the softmax resized to ``size``.

        Classes without a centroid are left out; in a domain without centroids every pixel is 255.

        Args:
            features: (N, C, h, w).
            domains: (N,) int64, domain of each image.
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
    """Return ``predicted`` where ``nearest`` is the same class, else 255: masks (N, H, W)."""
    return predicted.masked_fill(predicted != nearest, IGNORE)


class BilateralConsensus(nn.Module):
    """Label unlabelled images with the student at the start of the round and with the teacher's features.

    Each target domain has its own centroids (see ``set_targets``): a class looks different by night and in fog, and
    the mean of both is close to neither.

    Args:
        student: ``Method.predictor()``.
        params: warm-up, rounds and centroids.
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
        """Create empty centroids for these target domains."""
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
        """Start the current round if it has not started: copy the student and reset the centroids.

        Args:
            student: ``Method.predictor()``.
            progress: completed share of the training, ``start`` or more.

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
        """Return the agreed masks (N, H, W) int64, and add the features to the sums of the centroids.

        A cell counts for the class that the teacher predicts; once the centroid is a moving average, only if the
        consensus is the same class.

        Args:
            teacher: segmenter that gives the features.
            images: (N, 3, H, W), normalised.
            domains: N names of target domains, all among those of ``set_targets``.
        """
        places = torch.tensor([self.targets.index(name) for name in domains], device=images.device)
        size = (images.shape[-2], images.shape[-1])
        predicted = F.interpolate(self.model.look(images)[0], size, mode="bilinear").argmax(1)
        logits, features = teacher.look(images)
        agreed = bilateral_consensus(predicted, self.centroids.nearest(features, places, size))
        seen = logits.argmax(1)
        small = F.interpolate(agreed[:, None].float(), seen.shape[-2:], mode="nearest-exact")[:, 0].long()
        plain = self.centroids.plain_means()[places[:, None, None], seen]
        self.centroids.accumulate(features, seen.masked_fill(~((small == seen) | plain), IGNORE), places)
        return agreed
