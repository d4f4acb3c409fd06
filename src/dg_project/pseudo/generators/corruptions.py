"""``synthesis.generator: corruptions``: photometric changes by torchvision and Pillow, which move no pixel.

A severity of 0 leaves the image as it is, and 1 is the strongest change. Where a change has two directions, such as a
lower or a higher gamma, the image's seed draws one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from dg_project.config import CorruptionName, PseudoDomain
from dg_project.data.images import to_float, to_uint8
from dg_project.pseudo.generators.base import NOT_DIFFUSED, ImageGenerator, Job, Look

Change = Callable[[Tensor, float, torch.Generator], Tensor]
"""image (3, H, W) uint8, severity above 0 and up to 1, random numbers of the image -> image (3, H, W) uint8."""

AIR = 0.85
"""Brightness of the light that fog scatters towards the camera, 0 to 1."""
PATCHES = (3, 5)
"""Fog varies smoothly between this many rows and columns of random values."""
MOONLIGHT = (0.7, 0.8, 1.0)
"""Red, green and blue gain of the night."""


class CorruptionGenerator(ImageGenerator):
    """Changes the colours, sharpness and noise of source images."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "torchvision", "pillow")
    fingerprint = "corruptions"
    settings = NOT_DIFFUSED

    def look(self, domain: PseudoDomain, row: dict[str, Any], seed: int) -> Look:
        """See ``ImageGenerator.look``: the prompt is the name of the corruption, the strength its severity."""
        assert domain.corruptions is not None
        assert domain.severity is not None
        draw = random.Random(seed)
        return Look(draw.choice(domain.corruptions), round(draw.uniform(*domain.severity), 3), {})

    def paint(self, jobs: list[Job], sources: list[Image.Image]) -> list[Image.Image]:
        """See ``ImageGenerator.paint``."""
        return [F.to_pil_image(corrupt(F.pil_to_tensor(source), job.card["prompt"], job.card["strength"],
                                       job.card["seed"]))
                for job, source in zip(jobs, sources, strict=True)]


def corrupt(image: Tensor, name: CorruptionName, severity: float, seed: int) -> Tensor:
    """Return the changed image.

    Args:
        image: (3, H, W) uint8.
        name: corruption, one of ``CHANGES``.
        severity: 0 (the image itself) to 1.
        seed: decides noise, directions, tints and the density of fog.
    """
    return image if severity == 0 else CHANGES[name](image, severity, torch.Generator().manual_seed(seed))


def _either(severity: float, numbers: torch.Generator) -> float:
    """Return the severity with a random sign."""
    return severity if torch.rand((), generator=numbers) < 0.5 else -severity


def _colour_cast(image: Tensor, severity: float, numbers: torch.Generator) -> Tensor:
    """Scale each channel by up to half."""
    return _scaled(image, 1 + severity * (torch.rand(3, generator=numbers) - 0.5))


def _scaled(image: Tensor, gains: Tensor) -> Tensor:
    return to_uint8((to_float(image) * gains[:, None, None]).clamp(0, 1))


def _blur(image: Tensor, severity: float, numbers: torch.Generator) -> Tensor:
    """Blur with a standard deviation of up to 2 % of the shorter side; Pillow's time does not grow with it."""
    radius = 0.02 * severity * min(image.shape[-2:])
    return F.pil_to_tensor(F.to_pil_image(image).filter(ImageFilter.GaussianBlur(radius)))


def _noise(image: Tensor, deviation: float, numbers: torch.Generator) -> Tensor:
    """Add Gaussian noise; torchvision's takes no generator."""
    return to_uint8((to_float(image) + deviation * torch.randn(image.shape, generator=numbers)).clamp(0, 1))


def _fog(image: Tensor, severity: float, numbers: torch.Generator) -> Tensor:
    """Mix in light in smooth patches: ``t I + (1 - t) AIR``. The depth is unknown, so ``t`` is not that of real fog."""
    patches = F.resize(torch.rand(1, *PATCHES, generator=numbers), list(image.shape[-2:]), antialias=True)
    through = 1 - severity * (0.6 + 0.35 * patches)
    return to_uint8((to_float(image) * through + AIR * (1 - through)).clamp(0, 1))


def _night(image: Tensor, severity: float, numbers: torch.Generator) -> Tensor:
    """Darken, tint and add noise, as a camera does; nothing is lit."""
    dark = F.adjust_gamma(image, 1 + severity)
    tinted = _scaled(dark, (1 - severity) + severity * 0.6 * torch.tensor(MOONLIGHT))
    return _noise(tinted, 0.04 * severity, numbers)


def _equalize(image: Tensor, severity: float, numbers: torch.Generator) -> Tensor:
    return to_uint8(torch.lerp(to_float(image), to_float(F.equalize(image)), severity))


CHANGES: dict[CorruptionName, Change] = {
    "brightness": lambda image, s, _: F.adjust_brightness(image, 1 + s),
    "darkness": lambda image, s, _: F.adjust_brightness(image, 1 - 0.8 * s),
    "contrast": lambda image, s, _: F.adjust_contrast(image, 1 - 0.8 * s),
    "gamma": lambda image, s, numbers: F.adjust_gamma(image, 3 ** _either(s, numbers)),
    "saturation": lambda image, s, _: F.adjust_saturation(image, 1 + 2 * s),
    "hue": lambda image, s, numbers: F.adjust_hue(image, 0.5 * _either(s, numbers)),
    "colour_cast": _colour_cast,
    "grayscale": lambda image, s, _: F.adjust_saturation(image, 1 - s),
    "gaussian_blur": _blur,
    "gaussian_noise": lambda image, s, numbers: _noise(image, 0.2 * s, numbers),
    "jpeg": lambda image, s, _: F.jpeg(image, quality=round(100 - 95 * s)),
    "posterize": lambda image, s, _: F.posterize(image, 8 - round(6 * s)),
    "solarize": lambda image, s, _: F.solarize(image, 255 * (1 - s)),
    "equalize": _equalize,
    "fog": _fog,
    "night": _night,
}
"""What each corruption does."""
