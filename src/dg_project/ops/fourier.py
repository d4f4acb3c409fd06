"""Fourier decomposition: the amplitude spectrum is the style of an image, the phase its content (as MODE-F)."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-3


def decompose(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return amplitude and phase (..., H, W // 2 + 1) of an image (..., H, W): ``F(x) = A · exp(i·P)``.

    The transform is orthonormal, so amplitudes do not grow with the size of the image.
    """
    spectrum = torch.fft.rfft2(image, norm="ortho")
    return spectrum.abs(), spectrum.angle()


def recompose(amplitude: Tensor, phase: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the image (..., H, W) of ``size`` (H, W) with this amplitude and phase; inverse of ``decompose``."""
    return torch.fft.irfft2(torch.polar(amplitude, phase), s=size, norm="ortho")


def recombine(style: Tensor, content: Tensor) -> Tensor:
    """Return ``F⁻¹(A(style) · exp(i·P(content)))`` for two images (C, H, W) in 0..1, clipped to 0..1."""
    return recompose(decompose(style)[0], decompose(content)[1], (content.shape[-2], content.shape[-1])).clamp(0, 1)


def restyle(content: Tensor, style: Tensor, strength: float, band: float) -> Tensor:
    """Return ``F⁻¹(A · exp(i·P(content)))`` of two images (C, H, W) in 0..1 of one size, clipped to 0..1.

    ``A = (1 − strength) A(content) + strength A(style)`` up to the share ``band`` of the highest frequency of each
    axis, and ``A(content)`` above it. ``strength`` 1 and ``band`` 1 are ``recombine``.
    """
    (amplitude, phase), (target, _) = decompose(content), decompose(style)
    height, width = content.shape[-2:]
    low = torch.fft.fftfreq(height).abs()[:, None].maximum(torch.fft.rfftfreq(width)) <= band / 2
    return recompose(torch.lerp(amplitude, target, strength * low), phase, (height, width)).clamp(0, 1)


def style_distance(image: Tensor, other: Tensor) -> float:
    """Return ``1 − cos(log A(image), log A(other))`` in 0..2 for two images (C, H, W) of the same size."""
    one, two = ((decompose(x)[0] + EPSILON).log().flatten() for x in (image, other))
    return 1.0 - float(torch.nn.functional.cosine_similarity(one, two, dim=0))


def content_similarity(image: Tensor, other: Tensor) -> float:
    """Return the cosine similarity of two phase-only images (C, H, W), ``mean cos(P(image) − P(other))``, in −1..1."""
    return float((decompose(image)[1] - decompose(other)[1]).cos().mean())
