"""OA-DG (Lee et al., AAAI 2024, arXiv 2312.12133): OA-Mix views, and losses that hold the two views together."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torchvision.ops import box_iou

from dg_project.config import Params, Task
from dg_project.data.batches import Batch
from dg_project.methods.base import Method, Needs
from dg_project.ops.oa_mix import draw_boxes, oa_mix
from dg_project.tasks.base import Features, Inputs, take
from dg_project.tasks.detection import Detector

BACKGROUND_BOXES = 10
AREA, RATIO = (0.01, 0.3), (0.3, 3.3)
MOST_OVERLAP = 0.7
"""Random background boxes of an image, their area and ratio, and their largest IoU with an object."""


class OADGParams(Params):
    """Weights of OA-Loss; the defaults are those of the released configuration."""

    lambda_rpn: float = Field(0.1, ge=0, description="weight of the divergence of the RPN's scores")
    lambda_roi: float = Field(10.0, ge=0, description="weight of the divergence of the class probabilities")
    lambda_cont: float = Field(0.01, ge=0, description="weight of the contrastive loss on objects and background boxes")
    temperature: float = Field(0.06, gt=0, description="of the contrastive loss")


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of each row, (R,), of distributions (R, C); the mixture is at least 1e-7."""
    mixture = ((p + q) / 2).clamp(1e-7, 1).log()
    return (F.kl_div(mixture, p, reduction="none") + F.kl_div(mixture, q, reduction="none")).sum(1) / 2


def contrastive_loss(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the supervised contrastive loss (Khosla et al., NeurIPS 2020) of unit vectors.

    ``mean_i −1/|P(i)| Σ_{j in P(i)} log exp(v_i·v_j/τ) / Σ_{k≠i} exp(v_i·v_k/τ)``; P(i) are the other vectors with
    the label of i, and vectors without another of their label do not count.

    Args:
        vectors: ``(R, D)``, of any length.
        labels: ``(R,)``; 0 is background.
        temperature: τ.
    """
    unit = F.normalize(vectors, dim=1)
    alone = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / temperature).masked_fill(alone, -torch.inf)
    same = (labels[:, None] == labels) & ~alone
    known = same.any(1)
    if not known.any():
        return vectors.sum() * 0
    log_p = logits.log_softmax(1).masked_fill(~same, 0.0)
    return -(log_p.sum(1) / same.sum(1).clamp(min=1))[known].mean()


class OADG(Method):
    """``L = L_task(both views) + 0.1 JSD_rpn + 10 JSD_roi + 0.01 L_cont``.

    Half of the batch is used, with one OA-Mix view of each image, so that a step has as many images as other methods'.
    """

    name: ClassVar[str] = "oadg"
    needs: ClassVar[Needs] = Needs()
    Params: ClassVar[type[Params]] = OADGParams
    tasks: ClassVar[tuple[Task, ...]] = ("detection", "instance_segmentation")
    params: OADGParams
    model: Detector

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task's losses on both views, ``loss_jsd_rpn``, ``loss_jsd_roi`` and ``loss_cont``."""
        count = -(-len(batch) // 2)
        clean = batch.rows(torch.arange(count))
        views = [oa_mix(image.cpu(), target["boxes"]).to(image.device)
                 for image, target in zip(clean.images, clean.targets, strict=True)]
        both = clean.joined(replace(clean, images=views))
        inputs = self.model.prepare(both.images, both.targets)
        maps = self.model.neck(self.model.features(inputs.images))
        rows = torch.arange(count, device=both.weight.device)
        return self.model.losses(maps, inputs, both.weight) | self._oa_losses(maps, inputs, rows, clean.weight)

    def _oa_losses(self, maps: Features, inputs: Inputs, rows: Tensor, weight: Tensor) -> dict[str, Tensor]:
        params, count = self.params, len(rows)
        clean, view = take(maps, rows), take(maps, rows + count)
        score = [self.model.objectness(one).flatten().sigmoid() for one in (clean, view)]
        rpn = jensen_shannon(*(torch.stack([p, 1 - p], 1) for p in score))
        said = self.model.answers(clean, inputs.rows(rows))
        again = self.model.answers(view, inputs.rows(rows + count), said.places)
        roi = jensen_shannon(said.logits.softmax(1), again.logits.softmax(1))
        return {"loss_jsd_rpn": params.lambda_rpn * (rpn.view(count, -1).mean(1) * weight).mean(),
                "loss_jsd_roi": params.lambda_roi * (roi * weight[said.image]).mean(),
                "loss_cont": params.lambda_cont * self._contrast(maps, inputs)}

    def _contrast(self, maps: Features, inputs: Inputs) -> Tensor:
        """Return the contrastive loss on the labelled boxes of both views and on random background boxes."""
        height, width = self.model.image_size
        boxes, labels = [], []
        for target in inputs.targets or []:
            drawn = draw_boxes(BACKGROUND_BOXES, height, width, AREA, RATIO).to(target["boxes"])
            if len(target["boxes"]):
                drawn = drawn[box_iou(drawn, target["boxes"]).amax(1) <= MOST_OVERLAP]
            boxes.append(torch.cat([target["boxes"], drawn]))
            labels.append(torch.cat([target["labels"], target["labels"].new_zeros(len(drawn))]))
        return contrastive_loss(self.model.box_vectors(maps, boxes), torch.cat(labels), self.params.temperature)
