"""RSC (Huang et al., ECCV 2020): train on the features that remain after the dominant ones are muted."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from dg_project.config import Fraction, Params, Task
from dg_project.data.batches import Batch
from dg_project.methods.base import Needs
from dg_project.methods.erm import ERM
from dg_project.tasks.classification import Classifier, true_labels


class RSCParams(Params):
    """Shares of features and of images that are muted."""

    feature_share: Fraction = Field(0.333333, description="share of the features of an image that are muted")
    batch_share: Fraction = Field(0.333333, description="share of the images of a batch that are muted")


def dominant_features(gradient: Tensor, share: float) -> Tensor:
    """Return (N, C) bool: the ``share`` of an image's features with the largest gradient (Eq. 2).

    Args:
        gradient: (N, C), gradient of the true class's logit with respect to the features.
        share: share of the C features, 0 to 1.
    """
    count = round(share * gradient.shape[1])
    muted = torch.zeros_like(gradient, dtype=torch.bool)
    return muted.scatter(1, gradient.topk(count, dim=1).indices, True)


def dependent_images(before: Tensor, after: Tensor, share: float) -> Tensor:
    """Return (N,) bool: the ``share`` of images whose probability of the true class falls most when muted (Sec. 3.3).

    Args:
        before: (N,) probability of the true class.
        after: (N,) probability without the dominant features.
        share: share of the N images, 0 to 1.
    """
    count = round(share * len(before))
    chosen = torch.zeros_like(before, dtype=torch.bool)
    return chosen.scatter(0, (before - after).topk(count).indices, True)


class RSC(ERM):
    """``L = CE(h(z · m), y)``; the mask m removes the features z that the prediction depends on most (doc).

    The paper masks positions or channels; here it is the channels of the pooled features (ours).
    """

    name: ClassVar[str] = "rsc"
    needs: ClassVar[Needs] = Needs(other_batches=("mixed",), inner_gradients=True)
    Params: ClassVar[type[Params]] = RSCParams
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    params: RSCParams
    model: Classifier

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return ``loss_classification`` on the masked features."""
        inputs = self.model.prepare(batch.images, batch.targets)
        labels = true_labels(inputs)
        dropout, linear = self.model.head
        # Dropout is applied once: three masks would compare three different networks.
        vectors = dropout(self.model.vectors(self.model.neck(self.model.features(inputs.images))))
        mask = self._mask(vectors.detach(), linear, labels)
        loss = F.cross_entropy(linear(vectors * mask).float(), labels, reduction="none")
        return {"loss_classification": (loss * batch.weight).mean()}

    def _mask(self, vectors: Tensor, linear: torch.nn.Module, labels: Tensor) -> Tensor:
        """Return the mask m (N, C): 0 for dominant features of dependent images, else 1."""
        vectors = vectors.requires_grad_(True)
        logits = linear(vectors)
        true_logit = logits.gather(1, labels[:, None]).sum()
        gradient = torch.autograd.grad(true_logit, vectors)[0]
        with torch.no_grad():
            muted = dominant_features(gradient, self.params.feature_share)
            before, after = (z.float().softmax(1).gather(1, labels[:, None])[:, 0]
                             for z in (logits, linear(vectors * ~muted)))
            chosen = dependent_images(before, after, self.params.batch_share)
            return (~(muted & chosen[:, None])).to(vectors)
