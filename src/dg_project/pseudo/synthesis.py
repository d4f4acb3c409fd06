"""Synthesis of pseudo domains: source images in other weather with their labels, resumable image by image."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from dg_project.config import PseudoDomain
from dg_project.core.errors import DataError
from dg_project.core.files import atomic_file, file_hash, inside
from dg_project.data.drawing import spread_rows
from dg_project.data.images import BROKEN, open_rgb
from dg_project.data.manifest import COLUMNS, ORIGIN_COLUMNS, PSEUDO_COLUMNS
from dg_project.data.origin import check_file
from dg_project.pseudo.generators.base import ImageGenerator, Job, Pass

FOLDER_SIZE = 1000
"""Number of source images whose candidates share a folder."""
CHUNK = 512
"""Manifest rows held as Python objects before they are turned into columns."""
RAN_TOGETHER = "images_together"
"""Entry of a card: how many images of its source a CPU generated together."""
AHEAD = 2
"""Batches that wait to be written while the next is generated."""
COMPRESSION = 1
"""zlib's level: 8 % larger than by default, in a third of the time."""
RUN = ("made_with", "ldm_seconds")
"""Entries of a card that describe the run, not the image: one that differs only in these is not made again."""


def eligible(manifest: pd.DataFrame, min_boxes: int, max_boxes: int | None, first: int | None) -> pd.DataFrame:
    """Return rows whose number of boxes is within the bounds: the first, or spread over folders and classes.

    Args:
        manifest: training rows of the source domain.
        min_boxes: least number of boxes; 1 excludes images without boxes.
        max_boxes: largest number of boxes; None is unlimited.
        first: maximum number of rows; None returns all.

    Raises:
        DataError: no rows remain.
    """
    counts = manifest["labels"].map(lambda labels: sum(label > 0 for label in labels)).to_numpy(np.int64)
    within = (counts >= min_boxes) & (counts <= (max_boxes if max_boxes is not None else np.inf))
    rows = spread_rows(manifest[within], first)
    if rows.empty:
        raise DataError(
            f"none of {len(manifest)} source training images has between {min_boxes} and "
            f"{'any number of' if max_boxes is None else max_boxes} boxes: change synthesis.min_boxes or max_boxes"
        )
    return rows


@dataclass(frozen=True)
class Jobs:
    """All images of a synthesis, or those of one shard.

    Attributes:
        manifest: training rows of the source domain.
        domains: pseudo domains by name.
        generator: what makes the images.
        candidates: images per source image and domain.
        seed: seed of the run.
        shard: ``"2/4"`` is the second quarter of the source images; None is all.
    """

    manifest: pd.DataFrame
    domains: dict[str, PseudoDomain]
    generator: ImageGenerator
    candidates: int
    seed: int
    shard: str | None = None

    def __len__(self) -> int:
        return len(range(len(self.manifest))[self._shard]) * len(self.domains) * self.candidates

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs in the order of the manifest: by domain, source image and candidate."""
        for name in self.domains:
            for position, row in self._rows():
                for candidate in range(self.candidates):
                    yield self._job(name, row, position, candidate)

    def by_source(self) -> Iterator[list[Job]]:
        """Yield all jobs of each source image, by domain and candidate."""
        for position, row in self._rows():
            yield [self._job(name, row, position, candidate)
                   for name in self.domains for candidate in range(self.candidates)]

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        columns = [str(column) for column in self.manifest]
        rows = self.manifest.iloc[self._shard].itertuples(index=False, name=None)
        for position, values in zip(range(len(self.manifest))[self._shard], rows, strict=True):
            yield position, dict(zip(columns, values, strict=True))

    @property
    def _shard(self) -> slice:
        """Slice of the source images in the shard; all candidates of an image are made on one machine."""
        part, parts = map(int, (self.shard or "1/1").split("/"))
        return slice(part - 1, None, parts)

    def _job(self, name: str, row: dict[str, Any], position: int, candidate: int) -> Job:
        domain, image_id = self.domains[name], str(row["image_id"])
        seed = image_seed(self.seed, name, image_id, candidate)
        look = self.generator.look(domain, row, seed)
        card = {
            "source_image_id": image_id,
            "candidate": candidate,
            "prompt": look.prompt,
            "strength": look.strength,
            "seed": seed,
            "model": self.generator.fingerprint,
            "domain": name,
            "source_sha256": row["sha256"],
            **self.generator.settings,
            **look.more,
        }
        # Hundreds of thousands of files in one folder are slow on network disks.
        folder = name if position < FOLDER_SIZE else f"{name}/{position // FOLDER_SIZE:04d}"
        return Job(row, domain, f"{folder}/{image_id}_{candidate}.png", card)


def image_seed(seed: int, domain: str, image_id: str, candidate: int) -> int:
    """Return the 48-bit seed of one image, independent of the order of generation."""
    text = json.dumps([seed, domain, image_id, candidate])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def synthesise(
    manifest: pd.DataFrame,
    root: Path,
    domains: dict[str, PseudoDomain],
    generator: ImageGenerator,
    candidates: int,
    seed: int,
    workspace: Path,
    shard: str | None = None,
) -> pd.DataFrame:
    """Generate ``candidates`` images per source image and pseudo domain.

    Writes ``<workspace>/<domain>/<image_id>_<candidate>.png`` and a generation card (``.json``) next to it; from the
    second thousand source images on, each thousand has a numbered subfolder. Image and card are written atomically, the
    card last, so an interrupted call leaves complete images only and the next call continues; an image whose card has
    other inputs is generated again. Jobs are iterated, not listed, so memory does not grow with their number except for
    the returned manifest.

    Args:
        manifest: training rows of the source domain.
        root: folder of the manifest's relative paths.
        domains: pseudo domains by name.
        generator: what makes the images.
        candidates: images per source image and domain.
        seed: seed of the run.
        workspace: folder of the images; may already contain some of them.
        shard: ``"2/4"`` makes the second quarter of the source images; None makes all.

    Returns:
        The candidate manifest: boxes, labels and masks of the source, plus ``PSEUDO_COLUMNS``. Image paths are relative
        to ``workspace``, mask paths to ``root``.

    Raises:
        DataError: a source image, or another file that an image needs, cannot be read.
    """
    jobs = Jobs(manifest, domains, generator, candidates, seed, shard)
    with tqdm(total=len(jobs), desc="synthesis", unit="image") as bar:

        def finished(job: Job, together: int | None = None) -> bool:
            found = _finished(workspace, job, together)
            bar.update(found)
            return found

        with ThreadPoolExecutor(1, "images") as writer:
            waiting: deque[Future[int]] = deque()
            for batch in generator.passes(jobs.by_source(), finished):
                waiting.append(writer.submit(_save, _generate(batch, root, generator), workspace))
                if len(waiting) > AHEAD:
                    bar.update(waiting.popleft().result())
            bar.update(sum(saved.result() for saved in waiting))
    return _manifest(jobs, workspace)


Made = tuple[Job, Image.Image, dict[str, Any]]
"""A job, its image, and what its card says about the run."""


def _finished(workspace: Path, job: Job, together: int | None) -> bool:
    """Return whether the job's image exists, is intact and was made with the same card.

    Args:
        workspace: folder of the images.
        job: image to generate.
        together: how many images of its source a CPU runs together; None accepts any number.
    """
    image = inside(workspace, job.image)
    try:
        card = json.loads(image.with_suffix(".json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    sha256 = card.pop("sha256", None)
    if card.pop(RAN_TOGETHER, together) != together and together is not None:
        return False
    for key in RUN:
        card.pop(key, None)
    return card == job.card and image.is_file() and file_hash(image) == sha256


def _generate(batch: Pass, root: Path, generator: ImageGenerator) -> list[Made]:
    """Generate the images of one pass and return the missing ones; its time is divided equally among those."""
    started = time.perf_counter()
    sources = {name: _read(root, name, sha256)
               for name, sha256 in dict.fromkeys((job.row["image"], job.row["sha256"]) for job in batch.jobs)}
    images = generator.paint(batch.jobs, [sources[job.row["image"]] for job in batch.jobs])
    run: dict[str, Any] = {} if batch.together is None else {RAN_TOGETHER: batch.together}
    run |= {"made_with": generator.made_with,
            "ldm_seconds": round((time.perf_counter() - started) / sum(batch.missing), 4)}
    return [(job, image, run) for job, image, wanted in zip(batch.jobs, images, batch.missing, strict=True) if wanted]


def _save(made: list[Made], workspace: Path) -> int:
    """Write images and their cards, the card last; return their number."""
    for job, image, run in made:
        target = inside(workspace, job.image)
        with atomic_file(target) as aside:
            image.save(aside, compress_level=COMPRESSION)
        with atomic_file(target.with_suffix(".json")) as aside:
            aside.write_text(json.dumps({**job.card, **run, "sha256": file_hash(target)}, indent=1))
    return len(made)


def _read(root: Path, relative: str, sha256: str) -> Image.Image:
    path = inside(root, relative)
    check_file(path, sha256)
    try:
        return open_rgb(path)
    except BROKEN as error:
        raise DataError(
            f"the source image '{path}' cannot be read ({error}); restore it or run the ingestion again"
        ) from error


def _manifest(jobs: Jobs, workspace: Path) -> pd.DataFrame:
    """Return the manifest of all finished jobs, converted to columns in chunks."""
    columns = [*COLUMNS, *PSEUDO_COLUMNS, *(name for name in ORIGIN_COLUMNS if name in jobs.manifest), "source_sha256"]
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
    """Return the candidate's manifest row, with boxes and masks of the source image."""
    card = json.loads(inside(workspace, job.image).with_suffix(".json").read_text())
    return {
        **{column: job.row[column] for column in (*COLUMNS, *ORIGIN_COLUMNS) if column in job.row},
        **{column: card[column] for column in PSEUDO_COLUMNS},
        "domain": job.card["domain"],
        "role": "pseudo",
        "split": "train",
        "image": job.image,
        "sha256": card["sha256"],
        "source_sha256": job.row["sha256"],
    }
