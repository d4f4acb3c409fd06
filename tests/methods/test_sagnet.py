"""SagNet's operations against their definitions, and its three updates."""

from __future__ import annotations

import math

import torch
from methods.test_contract import spec, untrained

from dg_project.config import TrainingParams
from dg_project.core.device import seed_step
from dg_project.methods.sagnet import randomise_content, randomise_style, uniform_loss
from dg_project.training.optimizer import build_optimizers


def statistics(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return features.mean((2, 3)), features.std((2, 3))


def normalised(features: torch.Tensor) -> torch.Tensor:
    mean, deviation = statistics(features)
    return (features - mean[..., None, None]) / deviation[..., None, None]


def test_randomise_style() -> None:
    torch.manual_seed(0)
    features = torch.rand(6, 3, 8, 8) * torch.rand(6, 3, 1, 1) + torch.rand(6, 3, 1, 1)
    restyled = randomise_style(features)
    torch.testing.assert_close(normalised(restyled), normalised(features), atol=1e-2, rtol=1e-2)
    mean, _ = statistics(restyled)
    assert (mean >= statistics(features)[0].amin(0) - 1e-4).all()
    assert (mean <= statistics(features)[0].amax(0) + 1e-4).all()


def test_randomise_content() -> None:
    torch.manual_seed(0)
    features = torch.rand(6, 3, 8, 8) * torch.rand(6, 3, 1, 1) + torch.rand(6, 3, 1, 1)
    torch.manual_seed(1)
    partner = torch.randperm(6)
    torch.manual_seed(1)
    swapped = randomise_content(features)
    for got, expected in zip(statistics(swapped), statistics(features), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(normalised(swapped), normalised(features[partner]), atol=1e-2, rtol=1e-2)


def test_uniform_loss_minimum() -> None:
    torch.testing.assert_close(uniform_loss(torch.zeros(1, 4)), torch.tensor([math.log(4)]))
    assert uniform_loss(torch.tensor([[5.0, 0, 0, 0]])).item() > math.log(4)


def test_phase_parameters(tiny_classes: list[str]) -> None:
    method = untrained(spec("sagnet", tiny_classes), seed=0)
    optimizers = build_optimizers(method, TrainingParams(device="cpu"))
    owned = {name: {id(w) for group in optimizer.param_groups for w in group["params"]}
             for name, optimizer in optimizers.items()}
    assert owned["style"] == {id(weight) for weight in method.style_head.parameters()}
    assert not owned["features"] & owned["content"]
    everything = owned["features"] | owned["content"] | owned["style"]
    assert everything == {id(weight) for weight in method.parameters() if weight.requires_grad}
    assert [phase.optimizers for phase in method.phases] == [("features", "content"), ("style",), ("features",)]


def test_seed_step_per_phase() -> None:
    drawn = []
    for phase in range(3):
        seed_step(0, 5, 0, phase)
        drawn.append(torch.rand(()).item())
    seed_step(0, 5)
    assert torch.rand(()).item() == drawn[0]
    assert len(set(drawn)) == 3
