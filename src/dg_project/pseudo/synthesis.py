"""Synthesis of pseudo domains: source images in other weather with their labels, resumable image by image."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from dg_project.diffusion.captions import CLASS, fill
from dg_project.diffusion.prompts import describe, expand

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator

FOLDER_SIZE = 1000
"""Number of source images whose candidates share a folder."""
GROUPS = {"controlnet", "inpaint", "inversion"}
"""Parameter groups that belong to one mode each."""
CHUNK = 512
"""Manifest rows held as Python objects before they are turned into columns."""
TOGETHER = 8
"""Most images of one source that a CPU generates together."""
RAN_TOGETHER = "images_together"
"""Entry of a card: how many images of its source a CPU generated together."""
AHEAD = 2
"""Batches that wait to be written while the next is generated."""
COMPRESSION = 1
"""zlib's level: 8 % larger than by default, in a third of the time."""
MADE_WITH = {name: version(name) for name in ("torch", "diffusers")}
"""Versions written on every card; an image is not regenerated when they change."""


def eligible(manifest: pd.DataFrame, min_boxes: int, max_boxes: int | None, first: int | None) -> pd.DataFrame:
    """Return the first rows whose number of boxes is within the bounds.

    Args:
        manifest: training rows of the source domain.
        min_boxes: least number of boxes; 1 excludes images without boxes.
        max_boxes: largest number of boxes; None is unlimited.
        first: maximum number of rows; None returns all.

    Raises:
        DataError: no rows remain.
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


@dataclass(frozen=True)
class Job:
    """One image to generate.

    Attributes:
        row: manifest row of the source image, by column.
        image: path of the image relative to the workspace.
        card: everything that determines the image.
    """

    row: dict[str, Any]
    image: str
    card: dict[str, Any]


@dataclass(frozen=True)
class Jobs:
    """All images of a synthesis, or those of one shard.

    Attributes:
        manifest: training rows of the source domain.
        root: folder of the manifest's relative paths.
        domains: pseudo domains by name.
        ldm: sampling parameters.
        candidates: images per source image and domain.
        seed: seed of the run.
        model: fingerprint of the weights.
        classes: class names, for domains with a vocabulary or ``{class}`` in their prompt.
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
        return len(range(len(self.manifest))[self._shard]) * len(self.domains) * self.candidates

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs in the order of the manifest: by domain, source image and candidate."""
        settings = image_settings(self.ldm)
        for name in self.domains:
            for position, row in self._rows():
                for candidate in range(self.candidates):
                    yield self._job(name, row, position, candidate, settings)

    def by_source(self) -> Iterator[list[Job]]:
        """Yield all jobs of each source image, by domain and candidate."""
        settings = image_settings(self.ldm)
        for position, row in self._rows():
            yield [self._job(name, row, position, candidate, settings)
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

    def _job(self, name: str, row: dict[str, Any], position: int, candidate: int, settings: dict[str, Any]) -> Job:
        domain, image_id = self.domains[name], str(row["image_id"])
        seed = image_seed(self.seed, name, image_id, candidate)
        card = {
            "source_image_id": image_id,
            "candidate": candidate,
            "prompt": self._prompt(domain, row, seed),
            "strength": domain.strength,
            "seed": seed,
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
        prompt = domain.prompt or ""
        if domain.vocabulary is None and CLASS not in prompt:
            return expand(prompt, seed)
        names = [self.classes[int(label) - 1] for label in row["labels"]]
        if domain.vocabulary is not None:
            return describe(domain.vocabulary, names, seed)
        return expand(fill(prompt, **{"class": " and ".join(dict.fromkeys(names))}), seed)

    def _mask(self, row: dict[str, Any]) -> Path:
        path = inside(self.root, row["mask"])
        if not path.is_file():
            raise DataError(
                f"ldm.controlnet.condition is 'segmentation', but the source image '{row['image']}' has no semantic "
                f"mask ('{row['mask']}'): set the condition to 'edges', or ingest data with masks"
            )
        return path


def image_seed(seed: int, domain: str, image_id: str, candidate: int) -> int:
    """Return the 48-bit seed of one image, independent of the order of generation."""
    text = json.dumps([seed, domain, image_id, candidate])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def image_settings(ldm: LDMParams) -> dict[str, Any]:
    """Return the parameters that determine an image; the model is identified by its weights, not by paths."""
    irrelevant: dict[str, Any] = {
        "checkpoint": True, "vae": True, "variant": True, "batch_size": True, "memory": True,
        "controlnet": {"checkpoint"}, "loras": {"__all__": {"weights", "file"}},
    }  # fmt: skip
    settings = ldm.model_dump(mode="json", exclude={**irrelevant, **dict.fromkeys(GROUPS - {ldm.mode}, True)})
    return {**settings, "vae_tiling": ldm.memory.vae_tiling}


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

    Writes ``<workspace>/<domain>/<image_id>_<candidate>.png`` and a generation card (``.json``) next to it; from the
    second thousand source images on, each thousand has a numbered subfolder. Image and card are written atomically, the
    card last, so an interrupted call leaves complete images only and the next call continues; an image whose card has
    other inputs is generated again. Jobs are iterated, not listed, so memory does not grow with their number except for
    the returned manifest.

    Args:
        manifest: training rows of the source domain.
        root: folder of the manifest's relative paths.
        domains: pseudo domains by name.
        ldm: sampling parameters; ``batch_size`` never changes an image.
        candidates: images per source image and domain.
        seed: seed of the run.
        generator: open diffusion model.
        workspace: folder of the images; may already contain some of them.
        classes: class names; their order gives the labels 1..C. Only domains with a vocabulary or ``{class}`` in their
            prompt use them.
        shard: ``"2/4"`` makes the second quarter of the source images; None makes all.

    Returns:
        The candidate manifest: boxes, labels and masks of the source, plus ``PSEUDO_COLUMNS``. Image paths are relative
        to ``workspace``, mask paths to ``root``.

    Raises:
        DataError: a source image or a mask needed by the mode cannot be read.
    """
    if ldm.mode == "auto":
        ldm = ldm.model_copy(update={"mode": generator.mode.name})
    jobs = Jobs(manifest, root, domains, ldm, candidates, seed, generator.fingerprint, classes, shard)
    with tqdm(total=len(jobs), desc="synthesis", unit="image") as bar:
        on_cpu = generator.device.type == "cpu"
        passes = _passes_by_source(jobs, workspace, bar) if on_cpu else _passes(jobs, workspace, ldm.batch_size, bar)
        with ThreadPoolExecutor(1, "images") as writer:
            waiting: deque[Future[int]] = deque()
            for batch, missing in passes:
                made = _generate(batch, missing, root, ldm, generator, len(batch) if on_cpu else None)
                waiting.append(writer.submit(_save, made, workspace))
                if len(waiting) > AHEAD:
                    bar.update(waiting.popleft().result())
            bar.update(sum(saved.result() for saved in waiting))
    return _manifest(jobs, workspace)


Made = tuple[Job, Image.Image, dict[str, Any]]
"""A job, its image, and what its card says about the run."""
Pass = tuple[list[Job], list[bool]]
"""Jobs of one strength to generate together, and which of their images are still missing."""


def _passes_by_source(jobs: Jobs, workspace: Path, bar: tqdm) -> Iterator[Pass]:
    """Yield the jobs of each source image and strength, at most ``TOGETHER`` at a time, if an image is missing.

    On a CPU the last bits of an image depend on how many images of its source run together, so the images that exist
    are generated again with the missing ones, and not written.
    """
    for of_source in jobs.by_source():
        for strength in dict.fromkeys(job.card["strength"] for job in of_source):
            equal = [job for job in of_source if job.card["strength"] == strength]
            for first in range(0, len(equal), TOGETHER):
                batch = equal[first : first + TOGETHER]
                missing = [not _finished(workspace, job, len(batch)) for job in batch]
                bar.update(len(batch) - sum(missing))
                if any(missing):
                    yield batch, missing


def _passes(jobs: Jobs, workspace: Path, size: int, bar: tqdm) -> Iterator[Pass]:
    """Yield batches of ``size`` missing jobs of one strength, over all source images."""
    waiting: dict[float, list[Job]] = {}
    for of_source in jobs.by_source():
        for job in of_source:
            if _finished(workspace, job, None):
                bar.update()
                continue
            batch = waiting.setdefault(job.card["strength"], [])
            batch.append(job)
            if len(batch) == size:
                yield waiting.pop(job.card["strength"]), [True] * size
    for batch in waiting.values():
        yield batch, [True] * len(batch)


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
    for key in ("made_with", "ldm_seconds"):  # these describe the run, not the image
        card.pop(key, None)
    return card == job.card and image.is_file() and file_hash(image) == sha256


def _generate(batch: list[Job], missing: list[bool], root: Path, ldm: LDMParams, generator: Generator,
              together: int | None) -> list[Made]:
    """Generate the images of one batch and return the missing ones; its time is divided equally among those."""
    started = time.perf_counter()
    sources = {name: _read(root, name) for name in dict.fromkeys(job.row["image"] for job in batch)}
    images = generator.generate(
        [sources[job.row["image"]] for job in batch],
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
    run: dict[str, Any] = {} if together is None else {RAN_TOGETHER: together}
    run |= {"made_with": MADE_WITH, "ldm_seconds": round((time.perf_counter() - started) / sum(missing), 4)}
    return [(job, image, run) for job, image, wanted in zip(batch, images, missing, strict=True) if wanted]


def _save(made: list[Made], workspace: Path) -> int:
    """Write images and their cards, the card last; return their number."""
    for job, image, run in made:
        target = inside(workspace, job.image)
        with atomic_file(target) as aside:
            image.save(aside, compress_level=COMPRESSION)
        with atomic_file(target.with_suffix(".json")) as aside:
            aside.write_text(json.dumps({**job.card, **run, "sha256": file_hash(target)}, indent=1))
    return len(made)


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
    """Return the manifest of all finished jobs, converted to columns in chunks."""
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
    """Return the candidate's manifest row, with boxes and masks of the source image."""
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
