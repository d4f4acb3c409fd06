"""Pseudo domains: every source image in other weather, labels kept, resumable image by image."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from dg_project.config import LDMParams, PseudoDomain
from dg_project.core.errors import DataError
from dg_project.core.files import atomic_file, file_hash, inside
from dg_project.data.images import open_rgb
from dg_project.data.manifest import COLUMNS, PSEUDO_COLUMNS
from dg_project.data.masks import load_mask
from dg_project.diffusion.prompts import describe, expand

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator


FOLDER_SIZE = 1000
"""Source images whose candidates share a folder."""
GROUPS = {"controlnet", "inpaint", "inversion"}
"""Parameter groups of one mode each."""


@dataclass(frozen=True)
class Job:
    """One image to make.

    Attributes:
        row: the source image's row, by column.
        image: path of the image below the workspace.
        card: everything that determines it.
    """

    row: dict[str, Any]
    image: str
    card: dict[str, Any]


@dataclass(frozen=True)
class Jobs:
    """All images of a synthesis, or those of one shard.

    Attributes:
        manifest: training rows of the source domain.
        root: folder that the manifest's paths are relative to.
        domains: what to ask for, by name of the pseudo domain.
        ldm: how to sample.
        candidates: images per source image and domain.
        seed: the run's seed.
        model: fingerprint of the weights.
        classes: class names, for the domains with a vocabulary.
        shard: ``"2/4"`` is the second quarter of the source images; None is all.
    """

    manifest: pd.DataFrame
    root: Path
    domains: dict[str, PseudoDomain]
    ldm: LDMParams
    candidates: int
    seed: int
    model: str
    classes: Sequence[str] = ()
    shard: str | None = None

    def __len__(self) -> int:
        return len(range(len(self.manifest))[self._own]) * len(self.domains) * self.candidates

    def __iter__(self) -> Iterator[Job]:
        settings = image_settings(self.ldm)
        columns = [str(column) for column in self.manifest]
        for name in self.domains:
            rows = self.manifest.iloc[self._own].itertuples(index=False, name=None)
            for position, values in zip(range(len(self.manifest))[self._own], rows, strict=True):
                row = dict(zip(columns, values, strict=True))
                for candidate in range(self.candidates):
                    yield self._job(name, row, position, candidate, settings)

    @property
    def _own(self) -> slice:
        """The shard's source images; all images made of one stay on one machine."""
        part, parts = map(int, (self.shard or "1/1").split("/"))
        return slice(part - 1, None, parts)

    def _job(self, name: str, row: dict[str, Any], position: int, candidate: int, settings: dict[str, Any]) -> Job:
        domain, image_id = self.domains[name], str(row["image_id"])
        own = image_seed(self.seed, name, image_id, candidate)
        card = {
            "source_image_id": image_id,
            "candidate": candidate,
            "prompt": self._prompt(domain, row, own),
            "strength": domain.strength,
            "seed": own,
            "model": self.model,
            "domain": name,
            "source_sha256": row["sha256"],
            **settings,
        }
        if self.ldm.uses_boxes:
            card["boxes"] = [[float(value) for value in box] for box in row["boxes"]]
        if self.ldm.uses_masks:
            card["mask_sha256"] = file_hash(self._mask(row))
        # Hundreds of thousands of files in one folder are slow on network disks.
        folder = name if position < FOLDER_SIZE else f"{name}/{position // FOLDER_SIZE:04d}"
        return Job(row, f"{folder}/{image_id}_{candidate}.png", card)

    def _prompt(self, domain: PseudoDomain, row: dict[str, Any], seed: int) -> str:
        if domain.vocabulary is None:
            return expand(domain.prompt or "", seed)
        return describe(domain.vocabulary, [self.classes[int(label) - 1] for label in row["labels"]], seed)

    def _mask(self, row: dict[str, Any]) -> Path:
        path = inside(self.root, row["mask"])
        if not path.is_file():
            raise DataError(
                f"ldm.controlnet.condition is 'segmentation', but the source image '{row['image']}' has no semantic "
                f"mask ('{row['mask']}'): set the condition to 'edges', or ingest data with masks"
            )
        return path


def image_seed(seed: int, domain: str, image_id: str, candidate: int) -> int:
    """Return the 48-bit seed of one image: it depends on what the image is, never on when it is made."""
    text = json.dumps([seed, domain, image_id, candidate])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def image_settings(ldm: LDMParams) -> dict[str, Any]:
    """Return what of the parameters determines an image; its model is named by the weights, not by paths."""
    speed: dict[str, Any] = {
        "checkpoint": True, "variant": True, "batch_size": True, "memory": True,
        "controlnet": {"checkpoint"}, "loras": {"__all__": {"weights", "file"}},
    }  # fmt: skip
    settings = ldm.model_dump(mode="json", exclude={**speed, **dict.fromkeys(GROUPS - {ldm.mode}, True)})
    return {**settings, "vae_tiling": ldm.memory.vae_tiling}


def eligible(manifest: pd.DataFrame, min_boxes: int, max_boxes: int | None, first: int | None) -> pd.DataFrame:
    """Return the first rows whose number of boxes lies within the bounds.

    Args:
        manifest: training rows of the source domain.
        min_boxes: 1 leaves out images without any box.
        max_boxes: None is no bound.
        first: how many rows at most; None is all.

    Raises:
        DataError: no row is left.
    """
    counts = manifest["labels"].map(len).to_numpy(np.int64)
    within = (counts >= min_boxes) & (counts <= (max_boxes if max_boxes is not None else np.inf))
    rows = manifest[within].head(first or len(manifest)).reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"none of {len(manifest)} source training images has between {min_boxes} and "
            f"{'any number of' if max_boxes is None else max_boxes} boxes: change synthesis.min_boxes or max_boxes"
        )
    return rows


__all__ = ["image_seed", "synthesise"]

CHUNK = 512
"""Rows of the manifest that are held as Python objects; finished chunks are columns."""
MADE_WITH = {name: version(name) for name in ("torch", "diffusers")}
"""On every card; another version makes no image anew."""


def synthesise(
    manifest: pd.DataFrame,
    root: Path,
    domains: dict[str, PseudoDomain],
    ldm: LDMParams,
    candidates: int,
    seed: int,
    generator: Generator,
    workspace: Path,
    *,
    classes: Sequence[str] = (),
    shard: str | None = None,
) -> pd.DataFrame:
    """Generate ``candidates`` images per source image and pseudo domain.

    Writes ``<workspace>/<domain>/<image_id>_<candidate>.png`` and beside it a ``.json`` generation card; behind the
    first thousand source images every further thousand has a numbered folder below the domain's. The card is written
    last and both atomically, so an interrupted call leaves whole images only and the next call goes on where it
    stopped; an image whose card names other inputs is made again. Jobs are walked, never listed, so apart from the
    manifest that is returned the memory does not grow with their number.

    Args:
        manifest: training rows of the source domain.
        root: folder that the manifest's paths are relative to.
        domains: what to ask for, by name of the pseudo domain.
        ldm: how to sample; ``batch_size`` never changes an image.
        candidates: images per source image and domain.
        seed: the run's seed.
        generator: the opened diffusion model.
        workspace: folder of the images; may hold some of them already.
        classes: class names; their order gives the labels 1..C. Only a domain with a vocabulary reads them.
        shard: ``"2/4"`` makes the second quarter of the source images; None makes all.

    Returns:
        The candidate manifest: boxes, labels and masks of the source, ``PSEUDO_COLUMNS``. Images are relative to
        ``workspace``, masks to ``root``.

    Raises:
        DataError: a source image, or a mask that the mode needs, cannot be read.
    """
    if ldm.mode == "auto":
        ldm = ldm.model_copy(update={"mode": generator.mode.name})
    jobs = Jobs(manifest, root, domains, ldm, candidates, seed, generator.fingerprint, classes, shard)
    with tqdm(total=len(jobs), desc="synthesis", unit="image") as bar:
        for batch in _batches(_unfinished(jobs, workspace, bar), ldm.batch_size):
            _generate(batch, root, ldm, generator, workspace)
            bar.update(len(batch))
    return _manifest(jobs, workspace)


def _unfinished(jobs: Iterable[Job], workspace: Path, bar: tqdm) -> Iterator[Job]:
    """Yield the jobs whose image is not there yet."""
    for job in jobs:
        if _finished(workspace, job):
            bar.update()
        else:
            yield job


def _finished(workspace: Path, job: Job) -> bool:
    """Return whether the job's image was already made with the very same card, and is whole."""
    image = inside(workspace, job.image)
    try:
        card = json.loads(image.with_suffix(".json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    sha256 = card.pop("sha256", None)
    for about_the_run in ("made_with", "ldm_seconds"):
        card.pop(about_the_run, None)
    return card == job.card and image.is_file() and file_hash(image) == sha256


def _batches(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Yield runs of jobs of one domain (they share the strength)."""
    batch: list[Job] = []
    for job in jobs:
        if batch and (len(batch) == size or job.card["domain"] != batch[0].card["domain"]):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _generate(batch: list[Job], root: Path, ldm: LDMParams, generator: Generator, workspace: Path) -> None:
    """Make and store the images of one batch, which share its time equally."""
    started = time.perf_counter()
    made = generator.generate(
        [_read(root, job.row["image"]) for job in batch],
        [job.card["prompt"] for job in batch],
        [job.card["seed"] for job in batch],
        boxes=[job.card.get("boxes", []) for job in batch],
        masks=[_mask(root, job.row) if ldm.uses_masks else None for job in batch],
        strength=batch[0].card["strength"],
        steps=ldm.steps,
        guidance_scale=ldm.guidance_scale,
        image_guidance_scale=ldm.image_guidance_scale,
        negative_prompt=ldm.negative_prompt,
    )
    seconds = round((time.perf_counter() - started) / len(batch), 4)
    for job, image in zip(batch, made, strict=True):
        target = inside(workspace, job.image)
        with atomic_file(target) as aside:
            image.save(aside, compress_level=4)
        with atomic_file(target.with_suffix(".json")) as aside:
            card = {**job.card, "sha256": file_hash(target), "made_with": MADE_WITH, "ldm_seconds": seconds}
            aside.write_text(json.dumps(card, indent=1))


def _read(root: Path, relative: str) -> Image.Image:
    path = inside(root, relative)
    try:
        return open_rgb(path)
    except OSError as error:
        raise DataError(
            f"the source image '{path}' cannot be read ({error}); restore it or run the ingestion again"
        ) from error


def _mask(root: Path, row: dict[str, Any]) -> Image.Image:
    """Return the semantic mask of a source image as train ids."""
    size = (int(row["width"]), int(row["height"]))
    return Image.fromarray(load_mask(inside(root, row["mask"]), row["mask_ids"], size).numpy())


def _manifest(jobs: Jobs, workspace: Path) -> pd.DataFrame:
    """Return the manifest of all finished jobs, turned into columns chunk by chunk."""
    columns = [*COLUMNS, *PSEUDO_COLUMNS]
    chunks: list[pd.DataFrame] = []
    rows: list[dict[str, Any]] = []
    for job in jobs:
        rows.append(_row(workspace, job))
        if len(rows) == CHUNK:
            chunks.append(pd.DataFrame(rows, columns=columns))
            rows = []
    if rows or not chunks:
        chunks.append(pd.DataFrame(rows, columns=columns))
    return pd.concat(chunks, ignore_index=True)


def _row(workspace: Path, job: Job) -> dict[str, Any]:
    """Return the candidate's manifest row: boxes and masks are those of the source image."""
    card = json.loads(inside(workspace, job.image).with_suffix(".json").read_text())
    return {
        **{column: job.row[column] for column in COLUMNS},
        **{column: card[column] for column in PSEUDO_COLUMNS},
        "domain": job.card["domain"],
        "role": "pseudo",
        "split": "train",
        "image": job.image,
        "sha256": card["sha256"],
    }
