"""Unlabelled target images of a step: a pure function of (seed, step), as the batches that they lie beside."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from dg_project.data.batches import Batch, flip_horizontally
from dg_project.data.dataset import ManifestDataset
from dg_project.data.images import to_float
from dg_project.core.errors import DataError


class UnlabelledStream:
    """Endless batches of target images whose labels nobody opened; they come in random epochs, each flipped at random.

    Rows have targets without labels that say which ``domain`` they are of, the weight 1, and a ``pair_id`` of their own
    (-1, -2, ...): no other row shows the same place. What draws them is independent of what draws the labelled rows, so
    a method that adapts sees the same labelled batches as one that does not.

    Args:
        images: all target domains together.
        domain_id: of every row, whichever target it comes from: 1 + K.
        images_per_step: rows of every batch.
        seed: the only source of randomness, beside the step.
        flip: probability of a horizontal flip.

    Raises:
        DataError: there is no image, or a row has labels.
    """

    def __init__(self, images: ManifestDataset, domain_id: int, images_per_step: int, seed: int, flip: float) -> None:
        if not len(images):
            raise DataError("there is no unlabelled target image to adapt to; name their split with data.adapt_split")
        rows = images.manifest.to_dict("records")
        if labelled := [str(row["image"]) for row in rows if len(row["labels"]) or row["mask"] or row["instances"]]:
            raise DataError(f"the unlabelled image '{labelled[0]}' comes with labels, and training must not see those "
                            "of a target; ingest it as the adapt split of its domain")
        self.images, self.domain_id, self.images_per_step = images, domain_id, images_per_step
        self.seed, self.flip = seed, flip
        self._order = lru_cache(maxsize=4)(self._shuffle)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Return the rows of one step that a micro-batch gets, the same whenever and wherever they are asked for.

        Args:
            step: of the training, 0-based.
            part: number of the micro-batch; it gets each ``parts``-th row.
            parts: how many micro-batches there are.
        """
        rng = np.random.default_rng([self.seed, 3, step])
        places = [divmod(step * self.images_per_step + i, len(self.images)) for i in range(self.images_per_step)]
        flipped = [bool(rng.random() < self.flip) for _ in places]
        mine = range(part, self.images_per_step, parts)
        drawn = [self._row(int(self._order(places[i][0])[places[i][1]]), flipped[i]) for i in mine]
        return Batch([image for image, _ in drawn], [target for _, target in drawn],
                     torch.full((len(drawn),), self.domain_id), -1 - torch.tensor(mine), torch.ones(len(drawn)))

    def _row(self, index: int, flipped: bool) -> tuple[torch.Tensor, dict[str, Any]]:
        image, target = self.images[index]
        image, target = flip_horizontally(image, target) if flipped else (image, dict(target))
        return to_float(image), target | {"domain": self.images.domains[index]}

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.images))
