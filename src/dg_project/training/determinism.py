"""Randomness that depends on the seed and the step alone, so that a resumed run repeats the uninterrupted one."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils import deterministic as debugging


def seed_step(seed: int, step: int, part: int = 0) -> None:
    """Seed Python, NumPy and torch (all devices) for one micro-batch of a step.

    No generator state has to be stored: what it draws is a function of ``(seed, step, part)``.
    """
    state = np.random.SeedSequence([seed, step, part]).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]))


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Let torch choose deterministic algorithms where it has them, or not; restore the old choice afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = debugging.fill_uninitialized_memory  # type: ignore[attr-defined]  # the module is replaced at import
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Filling every new tensor with NaN finds bugs in kernels, at the price of a pass through memory.
    debugging.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        debugging.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
