"""Selection among the candidates of one source image (DomainFusion): most different style, most similar content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dg_project.core.errors import ParameterError, nearest
from dg_project.ops import adain, fourier

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class StyleContentChoice:
    """The choice among N candidates, with its scores.

    Attributes:
        image: (3, H, W) float32, 0..1; the best candidate, or style and content recombined.
        index: candidate with the highest score.
        style_index: candidate whose style is most different from the source's.
        content_index: candidate whose content is most similar to the source's.
        style_distances: one per candidate.
        content_similarities: one per candidate, −1..1.
        scores: ``style_weight · style distance + content_weight · content similarity``, one per candidate.
    """

    image: Tensor
    index: int
    style_index: int
    content_index: int
    style_distances: list[float]
    content_similarities: list[float]
    scores: list[float]


def _identity(image: Tensor) -> Tensor:
    return image


def select(candidates: Sequence[Tensor], source: Tensor, decomposition: Literal["fourier", "adain"] = "fourier",
           style_weight: float = 0.5, content_weight: float = 0.5, recombine: bool = False,
           encode: Map = _identity, decode: Map = _identity) -> StyleContentChoice:
    """Choose among the candidates of one source image.

    Args:
        candidates: N images (3, H, W), float32 0..1, of the source's size.
        source: the image (3, H, W) that they were generated from.
        decomposition: ``fourier`` (amplitude | phase) or ``adain`` (channel statistics | normalised features).
        style_weight: weight of the style distance in the score. Between rendered day and night, ``fourier`` distances
            are about 0.02 and ``adain`` distances about 0.2; similarities spread over a few tenths.
        content_weight: weight of the content similarity in the score.
        recombine: combine the style of ``style_index`` with the content of ``content_index`` instead of returning the
            best candidate.
        encode: image -> feature map (C, h, w) for ``adain``, such as the encoder of a VAE.
        decode: inverse of ``encode``.

    Raises:
        ParameterError: there are no candidates, or the decomposition is unknown.
    """
    if not candidates:
        raise ParameterError("synthesis.candidates: selection needs at least one candidate per image")
    parts = {"fourier": fourier, "adain": adain}
    if decomposition not in parts:
        raise ParameterError(f"sampling.decomposition: unknown '{decomposition}'.{nearest(decomposition, parts)}")
    if decomposition == "fourier":
        encode = decode = _identity
    part, origin, features = parts[decomposition], encode(source), [encode(image) for image in candidates]
    distances = [part.style_distance(feature, origin) for feature in features]
    similarities = [part.content_similarity(feature, origin) for feature in features]
    scores = [style_weight * d + content_weight * s for d, s in zip(distances, similarities, strict=True)]
    index, style_index, content_index = (values.index(max(values)) for values in (scores, distances, similarities))
    image = candidates[index]
    if recombine:
        image = decode(part.recombine(features[style_index], features[content_index])).clamp(0, 1)
    return StyleContentChoice(image.to(torch.float32), index, style_index, content_index, distances, similarities,
                              scores)
