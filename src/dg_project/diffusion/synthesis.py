"""Pseudo domains: every source image in other weather, labels kept, resumable image by image."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from dg_project.diffusion.jobs import Job, Jobs, image_seed
from dg_project.domains.manifest import COLUMNS, PSEUDO_COLUMNS
from dg_project.domains.masks import load_mask
from dg_project.errors import DataError
from dg_project.files import atomic_file, file_hash, inside
from dg_project.parameters import LDMParams, PseudoDomain

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

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
        [_read(root, job.row["image"]).convert("RGB") for job in batch],
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
        with Image.open(path) as image:
            image.load()
            return image
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
