"""Averages of the weights that predict."""

from __future__ import annotations

import torch
from torch import nn

from dg_project.ops.ema import WeightAverage


class Weight(nn.Linear):
    average_from: int | None = None


def test_plain_average_from_step() -> None:
    module = Weight(1, 1)
    module.average_from = 2
    average, seen = WeightAverage(module, None), []
    for step in range(6):
        with torch.no_grad():
            module.weight.fill_(float(step * step))
        seen.append(float(step * step))
        average.update(step)
        assert average.state is not None
        expected = sum(seen[2:]) / len(seen[2:]) if step >= 2 else seen[-1]
        torch.testing.assert_close(average.state["weight"], torch.full((1, 1), expected), rtol=1e-5, atol=1e-5)
    with average.applied():
        assert module.weight.item() == expected
    assert module.weight.item() == 25.0


def test_no_average_keeps_current_weights() -> None:
    average = WeightAverage(Weight(1, 1), None)
    average.update(0)
    assert average.state is None
