"""Trust: agreement of gradients against one backward pass per row, and what it makes of wrong labels."""

from __future__ import annotations

import pytest
import torch
from run_settings import settings
from torch import Tensor

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.methods.combined.drsf_diga import DRSFDiGA
from dg_project.methods.drsf.method import DRSF
from dg_project.methods.drsf.soft_fusion import soft_fusion
from dg_project.methods.drsf.trust import FLOOR, head_of, row_agreement
from dg_project.methods.model_folder import ModelSpec, build_method

DOMAINS = ["day", "true", "wrong"]


def drsf() -> DRSF:
    head = ClassificationParams(image_size=(32, 32), dropout=0.0)
    method = build_method(ModelSpec(
        method="drsf", method_params={"trust": True, "soft_fusion": ["pseudo"], "mixstyle_stages": []},
        task="classification", classes=["rows", "columns", "plain"], domains=DOMAINS, head=head.model_dump(mode="json"),
        backbone=BackboneParams(frozen_stages=2)))
    assert isinstance(method, DRSF)
    return method.train()


def striped(label: int, seed: int) -> Tensor:
    """Horizontal stripes, vertical stripes or none, in noise."""
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 0.4
    stripes = (torch.arange(32) // 4 % 2) * 0.6
    return image + (stripes[:, None], stripes[None], torch.tensor(0.3))[label]


def batch(step: int) -> Batch:
    """Eight source images, four pseudo images of them with their label, and four with the label of another class."""
    labels = [(step + row) % 3 for row in range(8)]
    images = [striped(label, 100 * step + row) for row, label in enumerate(labels)]
    domain = [0] * 8 + [1] * 4 + [2] * 4
    shown = [*images, *[0.8 * image for image in images]]
    told = [*labels, *labels[:4], *[(label + 1 + row % 2) % 3 for row, label in enumerate(labels[4:])]]
    targets = [{"boxes": torch.tensor([[0.0, 0.0, 32.0, 32.0]]), "labels": torch.tensor([label + 1]),
                "difficult": torch.tensor([False])} for label in told]
    return Batch(shown, targets, torch.tensor(domain), torch.tensor([*range(8), *range(8)]), torch.ones(16),
                 origins=[*[None] * 8, *images])


def test_row_agreement_equals_one_backward_pass_per_row() -> None:
    model, of = drsf().model, batch(0)
    inputs = model.prepare(of.images, of.targets)
    maps = model.neck(model.features(inputs.images))
    evidence = torch.rand(sum(weight.numel() for weight in head_of(model)))
    expected = []
    for row in range(len(of)):
        weight = torch.zeros(len(of))
        weight[row] = 1
        loss = torch.stack(list(model.losses(maps, inputs, weight).values())).sum()
        gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, head_of(model), retain_graph=True)])
        expected.append(gradient @ evidence)
    torch.testing.assert_close(row_agreement(model, maps, inputs, evidence), torch.stack(expected))


def test_wrong_labels_lose_trust_and_true_ones_keep_it() -> None:
    method, of = drsf(), batch(7)
    method.trust.images = [((255 * of.images[row]).to(torch.uint8), of.targets[row]) for row in range(8)]
    optimizer = torch.optim.AdamW([w for w in method.parameters() if w.requires_grad], lr=3e-4)
    torch.manual_seed(0)
    for step in range(40):
        optimizer.zero_grad()
        losses = method.losses(batch(step), (step + 10) / 50)
        torch.stack([value for name, value in losses.items() if name.startswith("loss_")]).sum().backward()
        optimizer.step()
    assert float(losses["log_trust_true"]) > 0.6
    assert float(losses["log_trust_wrong"]) == pytest.approx(FLOOR)
    assert not [name for name in method.inference_state() if name.startswith("trust")]


def test_a_domain_without_trust_shows_its_source_images() -> None:
    of = batch(0)
    of.weight[:] = 0.5
    fused, labels = soft_fusion(of, ["pseudo"], 4, 3, torch.tensor([1.0, 1.0, 0.0]))
    assert fused.domain_id.tolist() == [0] * 8 + [1] * 4 + [0] * 4
    assert labels.argmax(1).tolist() == fused.domain_id.tolist()
    assert fused.weight.tolist() == [0.5] * 12 + [1.0] * 4
    assert all(shown is origin for shown, origin in zip(fused.images[12:], of.origins[12:], strict=True))
    assert all(shown is own for shown, own in zip(fused.images[8:12], of.images[8:12], strict=True))


def test_trust_needs_the_source_images_and_one_process() -> None:
    with pytest.raises(ParameterError, match=r"drsf_diga\.trust: the batches of 'drsf_diga' do not hold"):
        DRSFDiGA.check(DRSFDiGA.Params(trust=True), settings(task="segmentation"))
    with pytest.raises(ParameterError, match=r"drsf\.trust is estimated in one process"):
        DRSF.check(DRSF.Params(trust=True), settings(training={"processes": 2, "accumulate": 2}))
