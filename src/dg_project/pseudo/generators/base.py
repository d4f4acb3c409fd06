"""The contract between the synthesis, which plans, stores and resumes, and a generator, which makes the images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar, NamedTuple, Protocol

from PIL import Image

from dg_project.config import PseudoDomain

NOT_DIFFUSED: dict[str, Any] = {"guidance_scale": 1.0, "steps": 0}
"""Settings of a generator without a diffusion model."""


@dataclass(frozen=True)
class Job:
    """One image to generate.

    Attributes:
        row: manifest row of the source image, by column.
        domain: its pseudo domain.
        image: path of the image relative to the workspace.
        card: everything that determines the image.
    """

    row: dict[str, Any]
    domain: PseudoDomain
    image: str
    card: dict[str, Any]


class Look(NamedTuple):
    """How an image will look, drawn by its seed.

    Attributes:
        prompt: text prompt, name of the corruption, or path of the style image.
        strength: strength of the change, 0 to 1.
        more: further entries of the image's card.
    """

    prompt: str
    strength: float
    more: dict[str, Any]


class Pass(NamedTuple):
    """Jobs to run together.

    Attributes:
        jobs: all that run.
        missing: whether each one's image is still missing; the others are made again, and not written.
        together: number for the card where the last bits of an image depend on it, else None.
    """

    jobs: list[Job]
    missing: list[bool]
    together: int | None = None


class Finished(Protocol):
    """A function that tells whether the image of a job exists."""

    def __call__(self, job: Job, together: int | None = None) -> bool:
        """Return whether the image exists, intact and made as the job says, with ``together`` if that is given."""


class ImageGenerator(ABC):
    """Makes pseudo images; an image depends on its source image and its card alone.

    Attributes:
        packages: packages whose versions are written on every card.
        fingerprint: name of the generator, or hash of its weights.
        settings: entries of every card: the parameters that all images share.
    """

    packages: ClassVar[tuple[str, ...]]
    fingerprint: str
    settings: dict[str, Any]

    @cached_property
    def made_with(self) -> dict[str, str]:
        """Versions of ``packages``; an image is not made again when they change."""
        return {name: version(name) for name in self.packages}

    @abstractmethod
    def look(self, domain: PseudoDomain, row: dict[str, Any], seed: int) -> Look:
        """Draw the look of the image with this seed from a source image, given by its manifest row."""

    @abstractmethod
    def paint(self, jobs: list[Job], sources: list[Image.Image]) -> list[Image.Image]:
        """Return one RGB image per job, in the size of its source image. Jobs with one source share one object.

        Raises:
            DataError: a file that an image needs cannot be read.
        """

    def passes(self, jobs: Iterable[list[Job]], finished: Finished) -> Iterator[Pass]:
        """Yield the missing jobs in the order and the groups in which to run them.

        Args:
            jobs: all jobs of each source image.
            finished: must be asked once for every job.
        """
        for of_source in jobs:
            missing = [job for job in of_source if not finished(job)]
            if missing:
                yield Pass(missing, [True] * len(missing))
