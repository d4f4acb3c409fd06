"""The label-fidelity gate: are the boxes that a pseudo image inherits still to be seen in it?

No model is asked. An object is visible when the edges that it has in the source are still there: at the same places, in
the same direction, and strong enough to be seen beside their surroundings. Darkness, tint and light fog scale edges and
pass; painting over, a wall of fog and noise break the correlation and do not.
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
"""Added before the logarithm. Pixel values already code lightness, so a small one would find edges in pure black: with
this one a step of 3 of 255 levels is just seen in black, one of 13 in a bright fog."""
SMOOTHING = 0.7
"""Standard deviation, in pixels, of the blur that removes noise before the gradient."""
NEIGHBOURHOOD = 1.5
"""Standard deviation, in pixels, of the window of the local contrast."""
FAINT = 0.03
"""Log-gradient per pixel that is just seen; a step of 5 % in brightness reaches it after the blur."""
FLOOR = 0.5
"""Normalised edge strength of a just visible object; weaker ones lose score."""


def edges(image: Tensor) -> Tensor:
    """Return the locally normalised gradient (2, 3, H, W) of an image (3, H, W) in 0..1.

    ``g = ∇ log(blur(I) + BLACK)``, a difference relative to its surroundings, is divided by the local contrast
    ``√(blur(Σ|g|²) + FAINT²)``: visible edges come out near 1, whatever the light, less than faint ones near 0.
    """
    logs = (_blur(image, SMOOTHING) + BLACK).log()
    padded = torch.nn.functional.pad(logs[None], (1, 1, 1, 1), mode="replicate")[0]
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    gradient = torch.stack([across, down])
    contrast = _blur(gradient.square().sum((0, 1))[None], NEIGHBOURHOOD)[0]
    return gradient / (contrast + FAINT**2).sqrt()


def _blur(image: Tensor, deviation: float) -> Tensor:
    size = 2 * math.ceil(3 * deviation) + 1
    height, width = image.shape[-2:]
    # Reflection needs an image larger than its border.
    kernel = [min(size, 2 * side - 1) for side in (width, height)]
    return gaussian_blur(image, kernel, [deviation, deviation])


def box_visibility(source: Tensor, pseudo: Tensor, boxes: Tensor, margin: float = 0.1) -> Tensor:
    """Score how much of every box's object is still to be seen, from 1 (all) over 0 (nothing) to −1 (its negative).

    ``v = Σ s·p / √(Σ|s|² · (Σ|p|² + n·FLOOR²))`` over the slightly enlarged box, s and p the ``edges`` of source and
    pseudo image, ``n = (Σ|s|²)² / Σ|s|⁴`` the effective number of the source's edge pixels.

    Args:
        source: image (3, H, W), float 0..1.
        pseudo: image (3, H, W) made from it.
        boxes: (n, 4) xyxy, absolute pixels.
        margin: the box grows by this share of its shorter side, two pixels at least, so that its outline is inside.

    Returns:
        (n,) float32 in −1..1.
    """
    ours, theirs = edges(source), edges(pseudo)
    return torch.tensor([_correlation(_window(ours, box, margin), _window(theirs, box, margin))
                         for box in boxes.tolist()], dtype=torch.float32)


def _window(field: Tensor, box: list[float], margin: float) -> Tensor:
    x0, y0, x1, y1 = box
    grow = max(2.0, margin * min(x1 - x0, y1 - y0))
    height, width = field.shape[-2:]
    return field[..., max(0, math.floor(y0 - grow)):min(height, math.ceil(y1 + grow)),
                 max(0, math.floor(x0 - grow)):min(width, math.ceil(x1 + grow))]


def _correlation(ours: Tensor, theirs: Tensor) -> float:
    energy = ours.square().sum((0, 1))
    total = energy.sum()
    if not total > 0:
        return 0.0
    pixels = total**2 / energy.square().sum()
    return float((ours * theirs).sum() / (total * (theirs.square().sum() + pixels * FLOOR**2)).sqrt())


def gate(visibility: Tensor, difficult: Tensor, params: GateParams) -> tuple[float, bool, str]:
    """Decide what becomes of a pseudo image whose boxes are seen as ``visibility`` says.

    Args:
        visibility: (n,) from ``box_visibility``.
        difficult: (n,) bool; such boxes are in no loss and do not count.
        params: thresholds.

    Returns:
        ``weight`` in the losses (0..1), ``kept``, and the ``reason`` when it is dropped or down-weighted, else ''.
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


def view(pseudo: pd.DataFrame, domains: Collection[str] | None, made_with: GateParams,
         wanted: GateParams) -> pd.DataFrame:
    """Return a view of the pseudo manifest.

    Args:
        pseudo: from ``sampling.sample``; the visibility of every box is in it.
        domains: pseudo domains to keep; None keeps all.
        made_with: the gate that weighed the manifest.
        wanted: the gate that weighs the view; without CLIP, unless it is off or the same.
    """
    rows = pseudo if domains is None else pseudo[pseudo["domain"].isin(list(domains))].reset_index(drop=True)
    if wanted == made_with:
        return rows
    decided = [gate(torch.tensor([float(v) for v in seen]), torch.tensor([bool(d) for d in hard], dtype=torch.bool),
                    wanted)
               for seen, hard in zip(rows["visibility"], rows["difficult"], strict=True)]
    weight, kept, reason = zip(*decided, strict=True)
    return rows.assign(weight=weight, kept=kept, reason=reason)
