"""Inspect a trained model on a few images: the channels of one stage, and DFDR's gates on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dg_project.core.device import resolve_device
from dg_project.data.images import load_image
from dg_project.methods import Method
from dg_project.methods.drsf.dfdr import channel_entropy
from dg_project.methods.drsf.method import DRSF
from dg_project.methods.model_folder import load_model

Array = NDArray[np.float32]


@dataclass(frozen=True)
class StageMaps:
    """Features of V images at one stage.

    Attributes:
        stage: stage name.
        features: (V, C, h, w), before DFDR if the method has it.
        entropy: (V, C) channel entropy, 0 (one position) to 1 (uniform).
        gate: (V, C) DFDR's ``A``: the shared portion of each channel; None without DFDR.
        recalibration: (V, C) DFDR's ``r``: the share of the private part that is added back; None without DFDR.
    """

    stage: str
    features: Array
    entropy: Array
    gate: Array | None
    recalibration: Array | None


def stage_maps(model: Path, images: list[Path], device: str = "auto", stage: int = 3) -> StageMaps:
    """Open a trained model and return its features of some images.

    Args:
        model: model folder.
        images: image files of any size; the model resizes them.
        device: device name.
        stage: backbone stage for methods without DFDR; for DRSF it is the stage that DFDR follows.
    """
    where = resolve_device(device)
    return stage_maps_of(load_model(model, where), [load_image(path) for path in images], where, stage)


@torch.inference_mode()
def stage_maps_of(method: Method, images: list[torch.Tensor], device: torch.device, stage: int = 3) -> StageMaps:
    """Return the maps of uint8 images (3, H, W); see ``stage_maps``."""
    pixels = [image.to(device).float() / 255 for image in images]
    task = method.model
    dfdr = method.dfdr if isinstance(method, DRSF) else None
    if dfdr is None or not isinstance(method, DRSF):
        chosen = f"stage{stage}" if f"stage{stage}" in task.backbone.channels else task.backbone.last
        features = task.features(task.prepare(pixels).images)[chosen]
        return StageMaps(chosen, _numpy(features), _numpy(channel_entropy(features)), None, None)
    with dfdr.exchanging() as exchange:
        task.features(task.prepare(pixels).images)
    parts = exchange.parts
    assert parts is not None
    pooled = [part.mean((2, 3)) for part in (parts.feature, parts.shared, parts.private)]
    entropy = channel_entropy(parts.feature)
    gate = dfdr.decoupling(torch.cat([pooled[0], entropy], 1))
    recalibration = dfdr.recalibration(torch.cat(pooled[1:], 1))
    return StageMaps(f"stage{method.params.stage}", *map(_numpy, (parts.feature, entropy, gate, recalibration)))


def _numpy(value: torch.Tensor) -> Array:
    return value.float().cpu().numpy()
