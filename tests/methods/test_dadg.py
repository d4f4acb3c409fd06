"""DADG: the inner step on known derivatives, and the losses against an explicit second model."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.methods.dadg import DADG, inner_step, leave_out_domain
from dg_project.methods.model_folder import ModelSpec, build_method

IMAGES = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(4)]
LABELS, DOMAIN, WEIGHT = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 2, 1, 2]), torch.tensor([1.0, 0.5, 0.8, 1.0])


def method(domains: int = 3, **options: float) -> DADG:
    built = build_method(ModelSpec(
        method="dadg", method_params=options, task="classification", classes=["car", "bus", "bike"],
        domains=[f"d{i}" for i in range(domains)],
        head=ClassificationParams(image_size=(32, 32)).model_dump(mode="json"),
        backbone=BackboneParams(name="test_resnet", weights=None, frozen_stages=0)), seed=1)
    assert isinstance(built, DADG)
    return built


def batch(domain: torch.Tensor = DOMAIN) -> Batch:
    return Batch(IMAGES, [{"labels": label[None] + 1} for label in LABELS], domain, torch.arange(4), WEIGHT)


@pytest.mark.parametrize("second_order", [False, True])
def test_inner_step_outer_gradient(second_order: bool) -> None:
    w = torch.tensor(2.0, requires_grad=True)
    unused = torch.tensor(1.0, requires_grad=True)
    after = inner_step(3 * w**2 / 2, {"w": w, "unused": unused}, 0.1, second_order)
    torch.testing.assert_close(after["w"], torch.tensor(2 - 0.1 * 3 * 2.0))
    assert after["unused"] is unused
    gradient, = torch.autograd.grad((after["w"] - 5) ** 2 / 2, w)
    torch.testing.assert_close(gradient, (after["w"].detach() - 5) * (1 - 0.1 * 3 if second_order else 1))


def test_leave_out_domain() -> None:
    torch.manual_seed(0)
    drawn = {tuple(leave_out_domain(DOMAIN).tolist()) for _ in range(50)}
    assert drawn == {tuple((d == DOMAIN).tolist()) for d in range(3)}
    assert not leave_out_domain(torch.zeros(4, dtype=torch.int64)).any()


def test_dadg_losses_equal_explicit_step() -> None:
    model = method(lambda_adv=0.3, lambda_validation=0.6, inner_lr=0.05).eval()
    torch.manual_seed(0)
    left_out = leave_out_domain(DOMAIN)
    torch.manual_seed(0)
    found = model.losses(batch(), 0.0)
    images, rest = model.model.prepare(IMAGES).images, ~left_out

    def entropy(logits: torch.Tensor, classes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return (F.cross_entropy(logits, classes[rows], reduction="none") * WEIGHT[rows]).mean()

    other = copy.deepcopy(model)
    vectors = other.model.vectors(other.model.features(images[rest]))
    classes = entropy(other.model.head(vectors), LABELS, rest)
    domains = 0.3 * entropy(other.discriminator(vectors), DOMAIN, rest)
    torch.testing.assert_close(found["loss_classification"], classes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["loss_adv_domain"], domains, rtol=1e-5, atol=1e-5)
    # One step of an explicit model: the extractor maximises the domain loss, the head does not see it.
    body, head = ([weight for weight in part.parameters() if weight.requires_grad]
                  for part in (other.model.backbone, other.model.head))
    slopes = torch.autograd.grad(classes - domains, body, retain_graph=True)
    slopes += torch.autograd.grad(classes, head)
    with torch.no_grad():
        for weight, slope in zip([*body, *head], slopes, strict=True):
            weight -= 0.05 * slope
    before, after = (0.6 * entropy(one.model.logits(one.model.features(images[left_out])), LABELS, left_out)
                     for one in (model, other))
    torch.testing.assert_close(found["loss_validation"], after, rtol=1e-5, atol=1e-5)
    assert abs(after - before) > 1e-4


@pytest.mark.parametrize("second_order", [False, True])
def test_dadg_gradients_everywhere(second_order: bool) -> None:
    model = method(second_order=second_order).train()
    torch.stack(list(model.losses(batch(), 0.0).values())).sum().backward()
    assert all(w.grad is not None for group in model.parameter_groups().values() for w in group)


def test_dadg_single_domain_batch() -> None:
    found = method().losses(batch(torch.zeros(4, dtype=torch.int64)), 0.0)
    assert found["loss_validation"] == 0
    assert found["loss_classification"] > 0


def test_dadg_needs_two_domains() -> None:
    with pytest.raises(ParameterError, match=r"there is one domain \('d0'\).*--pipeline=leave_one_out"):
        method(domains=1)
