"""``synthesis.generator: ldm``: a latent diffusion model paints the prompts of the pseudo domains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from dg_project.config import LDMParams, PseudoDomain
from dg_project.core.errors import DataError
from dg_project.core.files import file_hash, inside
from dg_project.data.masks import load_mask
from dg_project.diffusion.captions import CLASS, fill
from dg_project.diffusion.prompts import describe, expand
from dg_project.pseudo.generators.base import Finished, ImageGenerator, Job, Look, Pass

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

GROUPS = {"controlnet", "inpaint", "inversion"}
"""Parameter groups that belong to one mode each."""
TOGETHER = 8
"""Most images of one source that a CPU generates together."""


class DiffusionGenerator(ImageGenerator):
    """An open diffusion model with its sampling parameters.

    Args:
        model: open diffusion model.
        ldm: sampling parameters; ``batch_size`` never changes an image.
        root: folder of the paths of source images and masks.
        classes: class names; their order gives the labels 1..C. Only domains with a vocabulary use them.
    """

    packages: ClassVar[tuple[str, ...]] = ("torch", "diffusers")

    def __init__(self, model: Generator, ldm: LDMParams, root: Path, classes: Sequence[str] = ()) -> None:
        if ldm.mode == "auto":
            ldm = ldm.model_copy(update={"mode": model.mode.name})
        self.model, self.ldm, self.root, self.classes = model, ldm, root, classes
        self.fingerprint = model.fingerprint
        self.settings = image_settings(ldm)

    def look(self, domain: PseudoDomain, row: dict[str, Any], seed: int) -> Look:
        """See ``ImageGenerator.look``; boxes and the mask are on the card where they take part.

        Raises:
            DataError: the mode needs a semantic mask, and the source image has none.
        """
        more: dict[str, Any] = {}
        if self.ldm.uses_boxes:
            more["boxes"] = [[float(value) for value in box] for box in row["boxes"]]
        if self.ldm.uses_masks:
            more["mask_sha256"] = file_hash(self._mask_path(row))
        return Look(self._prompt(domain, row, seed), domain.strength, more)

    def passes(self, jobs: Iterable[list[Job]], finished: Finished) -> Iterator[Pass]:
        """See ``ImageGenerator.passes``."""
        if self.model.device.type == "cpu":
            return _passes_by_source(jobs, finished)
        return _passes(jobs, finished, self.ldm.batch_size)

    def paint(self, jobs: list[Job], sources: list[Image.Image]) -> list[Image.Image]:
        """See ``ImageGenerator.paint``; all jobs have one strength."""
        return self.model.generate(
            sources,
            [job.card["prompt"] for job in jobs],
            [job.card["seed"] for job in jobs],
            boxes=[job.card.get("boxes", []) for job in jobs],
            masks=[self._mask(job.row) if self.ldm.uses_masks else None for job in jobs],
            strength=jobs[0].card["strength"],
            steps=self.ldm.steps,
            guidance_scale=self.ldm.guidance_scale,
            image_guidance_scale=self.ldm.image_guidance_scale,
            negative_prompt=self.ldm.negative_prompt,
        )

    def _prompt(self, domain: PseudoDomain, row: dict[str, Any], seed: int) -> str:
        prompt = domain.prompt or ""
        if domain.vocabulary is None and CLASS not in prompt:
            return expand(prompt, seed)
        named = [self.classes[int(label) - 1] for label in row["labels"] if label > 0]  # others are ignored
        if domain.vocabulary is not None:
            return describe(domain.vocabulary, named, seed)
        return expand(fill(prompt, **{"class": " and ".join(dict.fromkeys(named))}), seed)

    def _mask_path(self, row: dict[str, Any]) -> Path:
        path = inside(self.root, row["mask"])
        if not path.is_file():
            raise DataError(
                f"ldm.controlnet.condition is 'segmentation', but the source image '{row['image']}' has no semantic "
                f"mask ('{row['mask']}'): set the condition to 'edges', or ingest data with masks"
            )
        return path

    def _mask(self, row: dict[str, Any]) -> Image.Image:
        """Return the semantic mask of a source image as train ids."""
        size = (int(row["width"]), int(row["height"]))
        return Image.fromarray(load_mask(inside(self.root, row["mask"]), row["mask_ids"], size).numpy())


def image_settings(ldm: LDMParams) -> dict[str, Any]:
    """Return the parameters that determine an image; the model is identified by its weights, not by paths."""
    irrelevant: dict[str, Any] = {
        "checkpoint": True, "vae": True, "variant": True, "batch_size": True, "memory": True,
        "controlnet": {"checkpoint"}, "loras": {"__all__": {"weights", "file"}},
    }  # fmt: skip
    settings = ldm.model_dump(mode="json", exclude={**irrelevant, **dict.fromkeys(GROUPS - {ldm.mode}, True)})
    return {**settings, "vae_tiling": ldm.memory.vae_tiling}


def _passes_by_source(jobs: Iterable[list[Job]], finished: Finished) -> Iterator[Pass]:
    """Yield the jobs of each source image and strength, at most ``TOGETHER`` at a time, if an image is missing.

    On a CPU the last bits of an image depend on how many images of its source run together, so the images that exist
    are generated again with the missing ones, and not written.
    """
    for of_source in jobs:
        for strength in dict.fromkeys(job.card["strength"] for job in of_source):
            equal = [job for job in of_source if job.card["strength"] == strength]
            for first in range(0, len(equal), TOGETHER):
                batch = equal[first : first + TOGETHER]
                missing = [not finished(job, len(batch)) for job in batch]
                if any(missing):
                    yield Pass(batch, missing, len(batch))


def _passes(jobs: Iterable[list[Job]], finished: Finished, size: int) -> Iterator[Pass]:
    """Yield batches of ``size`` missing jobs of one strength, over all source images."""
    waiting: dict[float, list[Job]] = {}
    for of_source in jobs:
        for job in of_source:
            if finished(job):
                continue
            batch = waiting.setdefault(job.card["strength"], [])
            batch.append(job)
            if len(batch) == size:
                yield Pass(waiting.pop(job.card["strength"]), [True] * size)
    for batch in waiting.values():
        yield Pass(batch, [True] * len(batch))
