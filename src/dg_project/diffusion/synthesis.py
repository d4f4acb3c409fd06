"""Pseudo domains: every source image in other weather, labels kept, resumable image by image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from dg_project.diffusion.prompts import expand
from dg_project.domains.manifest import COLUMNS, PSEUDO_COLUMNS
from dg_project.errors import DataError
from dg_project.files import atomic_file, file_hash, inside
from dg_project.parameters import LDMParams, PseudoDomain

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator


def synthesise(
    manifest: pd.DataFrame,
    root: Path,
    domains: dict[str, PseudoDomain],
    ldm: LDMParams,
    candidates: int,
    seed: int,
    generator: Generator,
    workspace: Path,
) -> pd.DataFrame:
    """Generate ``candidates`` images per source image and pseudo domain.

    Writes ``<workspace>/<domain>/<image_id>_<candidate>.png`` and beside it a ``.json`` generation card. The card is
    written last and both atomically, so an interrupted call leaves whole images only and the next call goes on where it
    stopped; an image whose card names other inputs is made again.

    Args:
        manifest: training rows of the source domain.
        root: folder that the manifest's paths are relative to.
        domains: what to ask for, by name of the pseudo domain.
        ldm: how to sample; ``batch_size`` never changes an image.
        candidates: images per source image and domain.
        seed: the run's seed.
        generator: the opened diffusion model.
        workspace: folder of the images; may hold some of them already.

    Returns:
        The candidate manifest: boxes, labels and masks of the source, ``PSEUDO_COLUMNS``. Images are relative to
        ``workspace``, masks to ``root``.

    Raises:
        DataError: a source image cannot be read.
    """
    jobs = [
        _job({str(key): value for key, value in row.items()}, name, domain, ldm, candidate, seed, generator.fingerprint)
        for name, domain in domains.items()
        for row in manifest.to_dict("records")
        for candidate in range(candidates)
    ]
    todo = [job for job in jobs if _finished(workspace, job) is None]
    with tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc="synthesis", unit="image") as bar:
        for batch in _batches(todo, ldm.batch_size):
            _generate(batch, root, ldm, generator, workspace)
            bar.update(len(batch))
    return pd.DataFrame([_row(workspace, job) for job in jobs], columns=[*COLUMNS, *PSEUDO_COLUMNS])


def image_seed(seed: int, domain: str, image_id: str, candidate: int) -> int:
    """Return the 48-bit seed of one image: it depends on what the image is, never on when it is made."""
    text = json.dumps([seed, domain, image_id, candidate])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _job(
    row: dict[str, Any], name: str, domain: PseudoDomain, ldm: LDMParams, candidate: int, seed: int, model: str
) -> dict[str, Any]:
    """Return the source row and the generation card (everything that determines the image) of one image."""
    own = image_seed(seed, name, str(row["image_id"]), candidate)
    card = {
        "source_image_id": str(row["image_id"]),
        "candidate": candidate,
        "prompt": expand(domain.prompt, own),
        "strength": domain.strength,
        "guidance_scale": ldm.guidance_scale,
        "steps": ldm.steps,
        "seed": own,
        "model": model,
        "domain": name,
        "source_sha256": row["sha256"],
        "dtype": ldm.dtype,
        "scheduler": ldm.scheduler,
        "image_guidance_scale": ldm.image_guidance_scale,
        "negative_prompt": ldm.negative_prompt,
    }
    return {"row": row, "card": card, "image": f"{name}/{row['image_id']}_{candidate}.png"}


def _finished(workspace: Path, job: dict[str, Any]) -> str | None:
    """Return the hash of the job's image where it was already made with the very same card."""
    image = inside(workspace, job["image"])
    try:
        card = json.loads(image.with_suffix(".json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    sha256 = card.pop("sha256", None)
    return sha256 if card == job["card"] and image.is_file() and file_hash(image) == sha256 else None


def _batches(jobs: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield runs of jobs of one domain (they share the strength)."""
    for name in dict.fromkeys(job["card"]["domain"] for job in jobs):
        own = [job for job in jobs if job["card"]["domain"] == name]
        yield from (own[start : start + size] for start in range(0, len(own), size))


def _generate(batch: list[dict[str, Any]], root: Path, ldm: LDMParams, generator: Generator, workspace: Path) -> None:
    """Make and store the images of one batch."""
    cards = [job["card"] for job in batch]
    made = generator.generate(
        [_read(root, job["row"]) for job in batch],
        [card["prompt"] for card in cards],
        [card["seed"] for card in cards],
        strength=cards[0]["strength"],
        steps=ldm.steps,
        guidance_scale=ldm.guidance_scale,
        image_guidance_scale=ldm.image_guidance_scale,
        negative_prompt=ldm.negative_prompt,
    )
    for job, image in zip(batch, made, strict=True):
        target = inside(workspace, job["image"])
        with atomic_file(target) as aside:
            image.save(aside, compress_level=4)
        with atomic_file(target.with_suffix(".json")) as aside:
            aside.write_text(json.dumps({**job["card"], "sha256": file_hash(target)}, indent=1))


def _read(root: Path, row: dict[str, Any]) -> Image.Image:
    path = inside(root, row["image"])
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        raise DataError(
            f"the source image '{path}' cannot be read ({error}); restore it or run the ingestion again"
        ) from error


def _row(workspace: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Return the candidate's manifest row: boxes and masks are those of the source image."""
    card = job["card"]
    return {
        **{column: job["row"][column] for column in COLUMNS},
        **{column: card[column] for column in PSEUDO_COLUMNS},
        "domain": card["domain"],
        "role": "pseudo",
        "split": "train",
        "image": job["image"],
        "sha256": _finished(workspace, job),
    }
