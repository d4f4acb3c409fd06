"""Batches of unlabelled target images for UDA, a pure function of (seed, step) like the labelled batches."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from dg_project.core.errors import DataError
from dg_project.data.batches import Batch, flip_horizontally
from dg_project.data.dataset import ManifestDataset
from dg_project.data.images import to_float


class UnlabelledStream:
    """Endless batches of unlabelled target images, in random epochs and with random flips.

    Targets have no labels but name the ``domain``; weights are 1, and every row has its own ``pair_id`` (-1, -2, ...).
    The random draws are independent of the labelled batches, so UDA methods see the same labelled batches as others.

    Args:
        images: images of all target domains.
        domain_id: domain id of every row, 1 + K for K pseudo domains.
        images_per_step: rows per batch.
        seed: random seed; batches depend only on it and on the step.
        flip: probability of a horizontal flip.

    Raises:
        DataError: there are no images, or a row has labels.
    """

    def __init__(self, images: ManifestDataset, domain_id: int, images_per_step: int, seed: int, flip: float) -> None:
        if not len(images):
            raise DataError("there is no unlabelled target image to adapt to; name their split with data.adapt_split")
        records = images.manifest.to_dict("records")
        if labelled := [str(row["image"]) for row in records if len(row["labels"]) or row["mask"] or row["instances"]]:
            raise DataError(f"the unlabelled image '{labelled[0]}' comes with labels, and training must not see those "
                            "of a target; ingest it as the adapt split of its domain")
        self.images, self.domain_id, self.images_per_step = images, domain_id, images_per_step
        self.seed, self.flip = seed, flip
        self._order = lru_cache(maxsize=4)(self._shuffle)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Return the rows of one micro-batch of a step.

        Args:
            step: training step, 0-based.
            part: index of the micro-batch; it gets every ``parts``-th row.
            parts: number of micro-batches.
        """
        rng = np.random.default_rng([self.seed, 3, step])
        positions = [divmod(step * self.images_per_step + i, len(self.images)) for i in range(self.images_per_step)]
        flipped = [bool(rng.random() < self.flip) for _ in positions]
        rows = range(part, self.images_per_step, parts)
        drawn = [self._row(int(self._order(positions[i][0])[positions[i][1]]), flipped[i]) for i in rows]
        return Batch([image for image, _ in drawn], [target for _, target in drawn],
                     torch.full((len(drawn),), self.domain_id), -1 - torch.tensor(rows), torch.ones(len(drawn)))

    def _row(self, index: int, flipped: bool) -> tuple[torch.Tensor, dict[str, Any]]:
        image, target = self.images[index]
        image, target = flip_horizontally(image, target) if flipped else (image, dict(target))
        return to_float(image), target | {"domain": self.images.domains[index]}

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.images))
