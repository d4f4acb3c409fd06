"""The label-fidelity gate: are the boxes of the source image still visible in the pseudo image?

No model is involved. An object counts as visible if its edges in the source are still there: at the same positions, in
the same direction, and strong enough against their surroundings. Darkness, tint and light fog scale edges and pass;
overpainting, dense fog and noise break the correlation and fail.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import pandas as pd
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from dg_project.config import GateParams

BLACK = 0.25
"""Added before the logarithm. Pixel values already encode lightness, so a smaller constant would find edges in pure
black; with this one a step of 3 of 255 levels is just visible in black, one of 13 in bright fog."""
SMOOTHING = 0.7
"""Standard deviation of the denoising blur before the gradient, in pixels."""
NEIGHBOURHOOD = 1.5
"""Standard deviation of the window of the local contrast, in pixels."""
FAINT = 0.03
"""Log-gradient per pixel that is just visible; a brightness step of 5 % reaches it after the blur."""
FLOOR = 0.5
"""Normalised edge strength of a just visible object; weaker edges lower the score."""


def edges(image: Tensor) -> Tensor:
    """Return the locally normalised gradient (2, 3, H, W) of an image (3, H, W) in 0..1.

    The relative gradient ``g = ∇ log(blur(I) + BLACK)`` is divided by the local contrast ``√(blur(Σ|g|²) + FAINT²)``:
    visible edges are near 1 in any light, edges weaker than faint near 0.
    """
    logs = (_blur(image, SMOOTHING) + BLACK).log()
    padded = torch.nn.functional.pad(logs[None], (1, 1, 1, 1), mode="replicate")[0]
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    gradient = torch.stack([across, down])
    contrast = _blur(gradient.square().sum((0, 1))[None], NEIGHBOURHOOD)[0]
    return gradient / (contrast + FAINT**2).sqrt()


def box_visibility(source: Tensor, pseudo: Tensor, boxes: Tensor, margin: float = 0.1) -> Tensor:
    """Score how visible the object in each box still is: 1 (fully), 0 (not at all), −1 (inverted).

    ``v = Σ s·p / √(Σ|s|² · (Σ|p|² + n·FLOOR²))`` over the slightly enlarged box, where s and p are the ``edges`` of
    source and pseudo image and ``n = (Σ|s|²)² / Σ|s|⁴`` is the effective number of edge pixels in the source.

    Args:
        source: image (3, H, W), float 0..1.
        pseudo: image (3, H, W) generated from it.
        boxes: (n, 4) xyxy, absolute pixels.
        margin: share of the shorter side, at least two pixels, by which the box grows to include its outline.

    Returns:
        (n,) float32 in −1..1.
    """
    if not len(boxes):
        return torch.zeros(0)
    before, after = edges(source), edges(pseudo)
    return torch.tensor([_correlation(_window(before, box, margin), _window(after, box, margin))
                         for box in boxes.tolist()], dtype=torch.float32)


def gate(visibility: Tensor, difficult: Tensor, params: GateParams) -> tuple[float, bool, str]:
    """Decide from the visibility of its boxes whether a pseudo image is kept, down-weighted or dropped.

    Args:
        visibility: (n,) from ``box_visibility``.
        difficult: (n,) bool; difficult boxes enter no loss and do not count.
        params: thresholds.

    Returns:
        ``weight`` in the losses (0..1), ``kept``, and the ``reason`` if the image is dropped or down-weighted, else ''.
    """
    counted = visibility[~difficult]
    if not params.enabled or not len(counted):
        return 1.0, True, ""
    seen = int((counted >= params.min_visibility).sum())
    share = seen / len(counted)
    if share >= params.down_weight_below:
        return 1.0, True, ""
    reason = f"{seen} of {len(counted)} boxes still visible"
    return (0.0, False, reason) if share < params.drop_below else (share, True, reason)


def regate(pseudo: pd.DataFrame, domains: Collection[str] | None, made_with: GateParams,
           wanted: GateParams) -> pd.DataFrame:
    """Apply another gate to a pseudo manifest, or drop domains.

    Args:
        pseudo: manifest from ``sampling.sample``, with the visibility of every box.
        domains: pseudo domains to keep; None keeps all.
        made_with: gate that the manifest was made with.
        wanted: gate to apply; without CLIP, unless it is off or equal to ``made_with``.
    """
    rows = pseudo if domains is None else pseudo[pseudo["domain"].isin(list(domains))].reset_index(drop=True)
    if wanted == made_with:
        return rows
    decided = [gate(torch.tensor([float(v) for v in seen]), torch.tensor([bool(d) for d in hard], dtype=torch.bool),
                    wanted)
               for seen, hard in zip(rows["visibility"], rows["difficult"], strict=True)]
    weight, kept, reason = zip(*decided, strict=True)
    return rows.assign(weight=weight, kept=kept, reason=reason)


def _blur(image: Tensor, deviation: float) -> Tensor:
    size = 2 * math.ceil(3 * deviation) + 1
    height, width = image.shape[-2:]
    # Reflection needs an image larger than its border.
    kernel = [min(size, 2 * side - 1) for side in (width, height)]
    return gaussian_blur(image, kernel, [deviation, deviation])


def _window(field: Tensor, box: list[float], margin: float) -> Tensor:
    x0, y0, x1, y1 = box
    grow = max(2.0, margin * min(x1 - x0, y1 - y0))
    height, width = field.shape[-2:]
    return field[..., max(0, math.floor(y0 - grow)):min(height, math.ceil(y1 + grow)),
                 max(0, math.floor(x0 - grow)):min(width, math.ceil(x1 + grow))]


def _correlation(source: Tensor, pseudo: Tensor) -> float:
    energy = source.square().sum((0, 1))
    total = energy.sum()
    if not total > 0:
        return 0.0
    pixels = total**2 / energy.square().sum()
    return float((source * pseudo).sum() / (total * (pseudo.square().sum() + pixels * FLOOR**2)).sqrt())
