"""``synthesis.generator: fourier``: source images with the amplitude spectrum of the user's unlabelled style images.

With the defaults this is FDA (Yang and Soatto, 2020), which swaps the lowest frequencies; ``band: 1`` with a strength
below 1 mixes the whole spectrum, as FACT (Xu et al., 2021) does.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torchvision.transforms.v2 import functional as F

from dg_project.config import PseudoDomain
from dg_project.core.files import file_hash
from dg_project.data.images import open_image, to_float, to_uint8
from dg_project.ops import fourier
from dg_project.pseudo.generators.base import NOT_DIFFUSED, ImageGenerator, Job, Look
from dg_project.pseudo.generators.given_images import given_images


class FourierGenerator(ImageGenerator):
    """Gives source images the style of images in folders.

    Args:
        domains: pseudo domains by name, each with a ``style`` folder.
        targets: folders of the target domains; no style image may be one of their images.

    Raises:
        DataError: see ``style_images``.
    """

    packages: ClassVar[tuple[str, ...]] = ("torch", "pillow")
    fingerprint = "fourier"
    settings = NOT_DIFFUSED

    def __init__(self, domains: dict[str, PseudoDomain], targets: Iterable[Path]) -> None:
        self._images = style_images(domains, targets)
        self._hash = cache(file_hash)

    def look(self, domain: PseudoDomain, row: dict[str, Any], seed: int) -> Look:
        """See ``ImageGenerator.look``: the prompt is the path of the style image in its folder."""
        style = _folder(domain)
        image = random.Random(seed).choice(self._images[style])
        return Look(image.relative_to(style).as_posix(), domain.strength,
                    {"style_sha256": self._hash(image), "band": domain.band})

    def paint(self, jobs: list[Job], sources: list[Image.Image]) -> list[Image.Image]:
        """See ``ImageGenerator.paint``. A style image is scaled to the size of the source image."""
        return [self._paint(job, source) for job, source in zip(jobs, sources, strict=True)]

    def _paint(self, job: Job, source: Image.Image) -> Image.Image:
        path = _folder(job.domain) / job.card["prompt"]
        style = open_image(path).resize(source.size, Image.Resampling.BILINEAR)
        content, look = (to_float(F.pil_to_tensor(image)) for image in (source, style))
        return F.to_pil_image(to_uint8(fourier.restyle(content, look, job.card["strength"], job.card["band"])))


def style_images(domains: dict[str, PseudoDomain], targets: Iterable[Path]) -> dict[Path, list[Path]]:
    """Return the images at any depth of each domain's style folder, sorted.

    Args:
        domains: pseudo domains by name, each with a ``style`` folder.
        targets: folders of the target domains.

    Raises:
        DataError: a style folder is missing, has no image, or would bring images of a target into the training.
    """
    targets = list(targets)
    return {_folder(domain): given_images(f"synthesis.domains.{name}.style", _folder(domain), targets,
                                          "some unlabelled images of the wanted style", deep=True)
            for name, domain in domains.items()}


def _folder(domain: PseudoDomain) -> Path:
    assert domain.style is not None
    return Path(domain.style)
