"""Measure the prediction time per image."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def milliseconds_per_image(predict: Callable[[list[Tensor]], Any], images: list[Tensor], device: torch.device,
                           rounds: int = 5) -> float:
    """Return the mean over images of the shortest of several times, with batch size 1.

    The shortest time is the one least disturbed by other processes. A first round warms up and is not counted.

    Args:
        predict: the model.
        images: (3, H, W) in 0..1.
        device: device of the model; CUDA work is synchronised.
        rounds: number of timed predictions per image.
    """
    times = torch.full((rounds, len(images)), torch.inf, dtype=torch.float64)
    ready = [image.to(device) for image in images]
    with torch.inference_mode():
        for number in range(rounds + 1):
            for k, image in enumerate(ready):
                _finish(device)
                started = time.perf_counter()
                predict([image])
                _finish(device)
                if number:
                    times[number - 1, k] = time.perf_counter() - started
    return 1000 * float(times.min(0).values.mean())


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
