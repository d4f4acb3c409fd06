"""EMA teacher: schedule, copies, no gradient."""

from __future__ import annotations

import torch
from torch import nn

from dg_project.ops.ema import EMATeacher


def student(value: float) -> nn.Sequential:
    module = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1, affine=False))
    nn.init.constant_(module[0].weight, value)
    return module


def test_ema_teacher_schedule() -> None:
    module = student(0.0)
    teacher = EMATeacher(module, alpha=0.75)
    seen, expected = [8.0, 4.0, 0.0, 2.0, 6.0], []
    for step, value in enumerate(seen):
        nn.init.constant_(module[0].weight, value)
        module[1].running_mean.fill_(value)
        teacher.update(module)
        keep = min(1 - 1 / (step + 1), 0.75)
        expected.append(keep * expected[-1] + (1 - keep) * value if expected else value)
        torch.testing.assert_close(teacher.module[0].weight, torch.full((1, 2), expected[-1]))
        assert teacher.module[1].running_mean == value, "statistics are the student's"
    assert expected[2] == sum(seen[:3]) / 3
    assert int(teacher.updates) == 5


def test_ema_teacher_copy_and_state_dict() -> None:
    module = student(1.0)
    teacher = EMATeacher(module, alpha=0.9)
    module(torch.randn(4, 2)).sum().backward()
    assert teacher.module[0].weight is not module[0].weight
    assert not any(weight.requires_grad for weight in teacher.parameters())
    for value in (2.0, 5.0):
        nn.init.constant_(module[0].weight, value)
        teacher.update(module)
    resumed = EMATeacher(student(0.0), alpha=0.9)
    resumed.load_state_dict(teacher.state_dict())
    nn.init.constant_(module[0].weight, 7.0)
    for one in (teacher, resumed):
        one.update(module)
    assert torch.equal(teacher.module[0].weight, resumed.module[0].weight)
    torch.testing.assert_close(resumed.module[0].weight, torch.full((1, 2), (2 + 5 + 7) / 3))
