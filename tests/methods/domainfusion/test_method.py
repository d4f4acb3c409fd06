"""DomainFusion's loss against its definition; ``test_latent_distillation`` tests the slopes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch
import torch.nn.functional as F

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.data.batches import Batch
from dg_project.methods.domainfusion.method import DomainFusion
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.tasks.classification import Classifier


def test_domainfusion_losses() -> None:
    method = build_method(ModelSpec(
        method="domainfusion", method_params={"lambda_ld": 0.2}, task="classification", classes=["a", "b", "c"],
        domains=["art", "photo", "synthetic"], backbone=BackboneParams(name="test_efficientnet", weights=None),
        head=ClassificationParams(image_size=(32, 32), dropout=0).model_dump(mode="json"))).train()
    assert isinstance(method, DomainFusion)
    slopes, asked = torch.tensor([-2.0, 0.5, 1.5]), []
    method.distiller = cast(Any, SimpleNamespace(slopes=lambda images, *_: asked.append(len(images)) or slopes))
    images = list(torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    labels, weight = torch.tensor([0, 2, 1, 1, 0, 0]), torch.tensor([1.0, 1.0, 1.0, 0.5, 1.0, 0.25])
    domain = torch.tensor([0, 2, 1, 2, 0, 2])  # two sources; the last domain is the synthetic set
    batch = Batch(images, [{"labels": label[None] + 1} for label in labels], domain,
                  torch.tensor([0, 0, 1, 1, 2, 2]), weight)
    found = method.losses(batch, 0.0)
    assert isinstance(method.model, Classifier)
    logits = method.model.logits(method.model.neck(method.model.features(method.model.prepare(images).images)))
    entropy = F.cross_entropy(logits, labels, reduction="none") * weight
    real = domain < 2
    torch.testing.assert_close(found["loss_classification"], entropy[real].mean(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["loss_synthetic_classification"], entropy[~real].mean(), rtol=1e-5, atol=1e-5)
    own = logits.softmax(1)[torch.arange(6), labels][real]
    torch.testing.assert_close(found["loss_ld"], 0.2 * (own * slopes).mean(), rtol=1e-5, atol=1e-5)
    assert asked == [3]
    assert found["log_ld_raising"] == 1 / 3
