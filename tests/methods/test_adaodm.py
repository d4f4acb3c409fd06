"""AdaODM: disagreement, training losses and test-time adaptation against their definitions."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from dg_project.config import BackboneParams, ClassificationParams
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.methods.adaodm import AdaODM, disagreement
from dg_project.methods.model_folder import ModelSpec, build_method

IMAGES = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(4)]


def method(domains: int = 3, frozen: int | str = 0, **options: float) -> AdaODM:
    built = build_method(ModelSpec(
        method="adaodm", method_params=options, task="classification", classes=["car", "bus", "bike"],
        domains=[f"d{i}" for i in range(domains)],
        head=ClassificationParams(image_size=(32, 32)).model_dump(mode="json"),
        backbone=BackboneParams(name="test_resnet", weights=None, frozen_stages=frozen)), seed=1)
    assert isinstance(built, AdaODM)
    return built


def seen(model: AdaODM, images: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([found["probabilities"] for found in model.predict(images)])


def test_disagreement_formula() -> None:
    z = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    p = z.exp() / z.exp().sum(2, keepdim=True)
    expected = sum((p[i] - p[j]).abs().sum(1) / 2 for i, j in combinations(range(3), 2)) / 3
    torch.testing.assert_close(disagreement(z), expected, rtol=1e-5, atol=1e-5)
    sure = 100 * torch.eye(2)[:, None]
    torch.testing.assert_close(disagreement(sure), torch.ones(1))
    torch.testing.assert_close(disagreement(z[:1].repeat(3, 1, 1)), torch.zeros(5))


def test_adaodm_losses_and_gradients() -> None:
    model = method(lambda_disagree=0.7).eval()
    targets = [{"labels": torch.tensor([label])} for label in (1, 2, 3, 1)]
    domain, weight = torch.tensor([0, 2, 1, 2]), torch.tensor([1.0, 0.5, 1.0, 1.0])
    found = model.losses(Batch(IMAGES, targets, domain, torch.arange(4), weight), 0.0)
    vectors = model.model.vectors(model.model.features(model.model.prepare(IMAGES).images))
    logits = torch.stack([head(vectors) for head in model.heads.heads])
    log_p = torch.stack([logits[d, i].log_softmax(0) for i, d in enumerate(domain)])
    expected = -(log_p[torch.arange(4), torch.tensor([0, 1, 2, 0])] * weight).mean()
    torch.testing.assert_close(found["loss_classification"], expected, rtol=1e-5, atol=1e-5)
    game = (disagreement(logits) * weight).mean()
    torch.testing.assert_close(found["loss_adv_disagreement"], -0.7 * game, rtol=1e-5, atol=1e-5)
    head, body = model.heads.heads[0].weight, next(w for w in model.model.backbone.parameters() if w.requires_grad)
    ours = torch.autograd.grad(found["loss_adv_disagreement"], [head, body])
    theirs = torch.autograd.grad(game, [head, body])
    torch.testing.assert_close(ours[0], -0.7 * theirs[0], rtol=1e-5, atol=1e-6)  # heads disagree
    torch.testing.assert_close(ours[1], 0.7 * theirs[1], rtol=1e-5, atol=1e-6)  # features that they agree on


def test_adaodm_test_time_step() -> None:
    model = method(steps=1, lr=0.05)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = model._trained()
    images = model.model.eval().prepare(IMAGES[:1]).images
    loss = disagreement(model.heads.each(model._vectors(trained, images))).mean()
    moved = model._move(trained, images)
    for (name, weight), slope in zip(trained.items(), torch.autograd.grad(loss, list(trained.values())), strict=True):
        torch.testing.assert_close(moved[name], weight - 0.05 * slope, rtol=1e-5, atol=1e-6)
    assert disagreement(model.heads.each(model._vectors(moved, images))).mean() < loss
    with torch.inference_mode():
        adapted = seen(model, IMAGES)
    plain = seen(method(steps=0), IMAGES)
    assert not torch.allclose(adapted, plain, atol=1e-4)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    mean = torch.stack([head(model.model.vectors(model.model.features(model.model.prepare(IMAGES).images))).softmax(1)
                        for head in model.heads.heads]).mean(0)
    torch.testing.assert_close(plain, mean, rtol=1e-5, atol=1e-5)


def test_adaodm_images_independent_unless_online() -> None:
    alone = method(lr=0.05)
    whole = seen(alone, IMAGES)
    torch.testing.assert_close(seen(alone, IMAGES[::-1]), whole.flip(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen(alone, IMAGES[2:3]), whole[2:3], rtol=1e-5, atol=1e-6)
    online = method(lr=0.05, online=True)
    first, second = seen(online, IMAGES[:2]), seen(online, IMAGES[:2])
    assert not torch.allclose(first, second, atol=1e-5), "the second call continues from the first"
    online.restore()
    assert torch.equal(seen(online, IMAGES[:2]), first)
    online.load_inference_state(online.inference_state())
    assert torch.equal(seen(online, IMAGES[:2]), first), "new weights reset the adaptation"
    online.begin_step()
    assert torch.equal(seen(online, IMAGES[:2]), first), "the adaptation of a validation is undone"


def test_adaodm_needs() -> None:
    with pytest.raises(ParameterError, match=r"there is one domain \('d0'\).*--pipeline=leave_one_out"):
        method(domains=1)
    with pytest.raises(ParameterError, match="all of it is frozen"):
        method(frozen="all")
    method(frozen="all", steps=0)
