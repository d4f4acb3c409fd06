"""``synthesis.generator: folder``: images that were made elsewhere, such as by your own diffusion pipeline."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from dg_project.config import PseudoDomain
from dg_project.core.errors import DataError
from dg_project.core.files import file_hash
from dg_project.data.images import open_image
from dg_project.pseudo.generators.base import NOT_DIFFUSED, ImageGenerator, Job, Look
from dg_project.pseudo.generators.given_images import given_images

SEPARATOR = "--"
"""Separates the name of the source image from anything that tells its pseudo images apart."""
SAME_SHAPE = 0.02
"""Largest relative difference between the aspect ratios of a source image and an image made of it."""


class FolderGenerator(ImageGenerator):
    """Takes the images ``<images>/<name>.png`` or ``<images>/<name>--<anything>.png`` for the source image ``<name>``.

    Args:
        domains: pseudo domains by name, each with a folder of ``images``.
        targets: folders of the target domains; none of their images may be used.

    Raises:
        DataError: a folder is missing, has no image, or shares images with a target domain.
    """

    packages: ClassVar[tuple[str, ...]] = ("pillow",)
    fingerprint = "folder"
    settings = NOT_DIFFUSED

    def __init__(self, domains: dict[str, PseudoDomain], targets: Iterable[Path]) -> None:
        self._images = made_images(domains, targets)
        self._hash = cache(file_hash)

    def look(self, domain: PseudoDomain, row: dict[str, Any], seed: int) -> Look:
        """See ``ImageGenerator.look``: the prompt is the name of the image; the seed draws one of several.

        Raises:
            DataError: there is no image of this source image.
        """
        folder, name = _folder(domain), Path(row["image"]).stem
        made = self._images[folder].get(name)
        if made is None:
            raise DataError(f"'{folder}' has no image of the source image '{row['image']}': name it '{name}.png' or "
                            f"'{name}{SEPARATOR}1.png', or start from fewer images (synthesis.n_images)")
        image = random.Random(seed).choice(made)
        return Look(image.name, domain.strength, {"image_sha256": self._hash(image)})

    def paint(self, jobs: list[Job], sources: list[Image.Image]) -> list[Image.Image]:
        """See ``ImageGenerator.paint``. An image is scaled to the size of its source image.

        Raises:
            DataError: an image is broken, or has another shape than its source image, so that labels would not fit.
        """
        return [_fitting(_folder(job.domain) / job.card["prompt"], source)
                for job, source in zip(jobs, sources, strict=True)]


def made_images(domains: dict[str, PseudoDomain], targets: Iterable[Path]) -> dict[Path, dict[str, list[Path]]]:
    """Return the images of every folder by the name of their source image.

    Args:
        domains: pseudo domains by name, each with a folder of ``images``.
        targets: folders of the target domains.

    Raises:
        DataError: see ``FolderGenerator``.
    """
    targets, found = list(targets), {}
    for name, domain in domains.items():
        folder = _folder(domain)
        images = given_images(f"synthesis.domains.{name}.images", folder, targets,
                              "the images of this domain, named as their source images,")
        of_source: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            of_source[image.stem.split(SEPARATOR)[0]].append(image)
        found[folder] = dict(of_source)
    return found


def _fitting(path: Path, source: Image.Image) -> Image.Image:
    image = open_image(path)
    ratio = (image.width / image.height) / (source.width / source.height)
    if abs(ratio - 1) > SAME_SHAPE:
        raise DataError(f"'{path}' is {image.width} x {image.height}, its source image {source.width} x "
                        f"{source.height}: labels need the same shape; make the image without cropping")
    return image if image.size == source.size else image.resize(source.size, Image.Resampling.BILINEAR)


def _folder(domain: PseudoDomain) -> Path:
    assert domain.images is not None
    return Path(domain.images)
