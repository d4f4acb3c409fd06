"""OA-Mix (Lee et al., AAAI 2024, arXiv 2312.12133): AugMix with its own chains for every object and region.

``docs/methods/classification.md`` marks what the paper documents, and what is ours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as V

WIDTH, DEPTH = 3, 3
"""Chains per region, and most operations of a chain."""
RANDOM_BOXES = (3, 5)
AREA = (0.005, 0.1)
RATIO = (1 / 3, 3.0)
"""Number of random boxes, their share of the image's area, and their ratio of height to width."""
SALIENCY_SIDE = 64
LEAST_SIDE = 2
"""Pixels; smaller regions keep the operations of their surroundings."""

Operation = Callable[[Tensor, float], Tensor]
"""image (3, H, W) uint8, level from 0 to 1 -> image."""

OPERATIONS: tuple[Operation, ...] = (
    lambda image, _: V.autocontrast(image),
    lambda image, _: V.equalize(image),
    lambda image, level: V.posterize(image, 8 - round(4 * level)),
    lambda image, level: V.solarize(image, 255 - 128 * level),
    lambda image, level: V.adjust_saturation(image, 1 + _either(0.9 * level)),
    lambda image, level: V.adjust_contrast(image, 1 + _either(0.9 * level)),
    lambda image, level: V.adjust_brightness(image, 1 + _either(0.9 * level)),
    lambda image, level: V.adjust_sharpness(image, 1 + _either(0.9 * level)),
)
"""AugMix's operations that move no pixel."""


def _either(value: float) -> float:
    return value if torch.rand(()) < 0.5 else -value


def augmix(image: Tensor) -> Tensor:
    """Return ``Σ_k w_k chain_k(x)``, float 0..255, of an image (3, H, W) uint8.

    ``w ~ Dirichlet(1, 1, 1)``; a chain is one to three random operations of random levels.
    """
    weights = torch.distributions.Dirichlet(torch.ones(WIDTH)).sample()
    mixed = torch.zeros(image.shape)
    for weight in weights.tolist():
        chained = image
        for _ in range(int(torch.randint(1, DEPTH + 1, ()))):
            chained = OPERATIONS[int(torch.randint(len(OPERATIONS), ()))](chained, float(torch.rand(())))
        mixed += weight * chained
    return mixed


def saliency(image: Tensor) -> Tensor:
    """Return the spectral residual saliency (H, W) of an image (3, H, W), float 0..1; its mean is 1.

    ``S = G * |F⁻¹ exp(L − h * L + i P)|²`` with the log amplitude L and the phase P of the grey image, scaled to 64 x
    64, a 3 x 3 mean h and a Gaussian G (Hou and Zhang, CVPR 2007).
    """
    small = F.interpolate(image.mean(0)[None, None], (SALIENCY_SIDE, SALIENCY_SIDE), mode="bilinear", antialias=True)
    spectrum = torch.fft.fft2(small[0, 0])
    logs = (spectrum.abs() + 1e-8).log()
    smooth = F.avg_pool2d(F.pad(logs[None, None], (1, 1, 1, 1), mode="circular"), 3, stride=1)[0, 0]
    found = torch.fft.ifft2(torch.polar((logs - smooth).exp(), spectrum.angle())).abs().square()
    found = V.gaussian_blur(found[None], [9, 9], [2.5, 2.5])
    full = F.interpolate(found[None], image.shape[-2:], mode="bilinear")[0, 0]
    return full / full.mean().clamp(min=1e-12)


def random_boxes(height: int, width: int) -> Tensor:
    """Draw three to five boxes (n, 4), xyxy in pixels."""
    count = int(torch.randint(RANDOM_BOXES[0], RANDOM_BOXES[1] + 1, ()))
    return draw_boxes(count, height, width, AREA, RATIO)


def draw_boxes(count: int, height: int, width: int, area: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """Draw ``count`` boxes (n, 4) that lie inside an image.

    Args:
        count: number of boxes.
        height: height of the image in pixels.
        width: its width.
        area: least and largest share of the image's area.
        ratio: least and largest ratio of height to width, uniform in its logarithm.
    """
    share = torch.empty(count).uniform_(*area) * height * width
    shape = torch.empty(count).uniform_(*torch.tensor(ratio).log().tolist()).exp()
    tall, wide = (share * shape).sqrt().clamp(1, height), (share / shape).sqrt().clamp(1, width)
    x, y = torch.rand(count) * (width - wide), torch.rand(count) * (height - tall)
    return torch.stack([x, y, x + wide, y + tall], 1)


def oa_mix(image: Tensor, boxes: Tensor) -> Tensor:
    """Return the second view of an image (3, H, W), float 0..1, with objects in ``boxes`` (n, 4).

    The background, random boxes and every object get an ``augmix`` of their own, with smooth edges; then
    ``m · augmented + (1 − m) · x`` with ``m ~ U(0, 1)`` of each region. Objects that stand out little, with a mean
    saliency below that of the image, take ``m ~ U(0, 0.5)``, so that they are not destroyed.
    """
    height, width = image.shape[-2:]
    pixels = (image * 255).round().to(torch.uint8)
    changed, share = augmix(pixels), torch.full((1, height, width), float(torch.rand(())))
    salient = saliency(image)
    regions = [*((box, False) for box in random_boxes(height, width)), *((box, True) for box in boxes.cpu())]
    for box, is_object in regions:
        x0, y0, x1, y1 = (int(value) for value in box.round().tolist())
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if min(x1 - x0, y1 - y0) < LEAST_SIDE:
            continue
        place = (..., slice(y0, y1), slice(x0, x1))
        faint = is_object and salient[place].mean() < 1
        edge = smooth_edge(y1 - y0, x1 - x0)
        changed[place] = torch.lerp(changed[place], augmix(pixels[place]), edge)
        share[place] = torch.lerp(share[place], torch.rand(1, 1, 1) * (0.5 if faint else 1.0), edge)
    return torch.lerp(image, (changed / 255).clamp(0, 1), share)


def smooth_edge(height: int, width: int) -> Tensor:
    """Return weights (1, H, W) of a region: 1 inside, falling to 0 over a tenth of its sides at the border."""

    def ramp(length: int) -> Tensor:
        distance = torch.minimum(torch.arange(length), torch.arange(length - 1, -1, -1)) + 0.5
        return (distance / max(1.0, 0.1 * length)).clamp(max=1)

    return (ramp(height)[:, None] * ramp(width))[None]
