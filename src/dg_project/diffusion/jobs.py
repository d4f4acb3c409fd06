"""The job list of a synthesis: which images there are to make, each with everything that determines it.

A list only in name: it is walked anew each time, so a hundred thousand jobs take no more memory than one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dg_project.diffusion.prompts import expand
from dg_project.diffusion.vocabulary import describe
from dg_project.errors import DataError
from dg_project.files import file_hash, inside
from dg_project.parameters import LDMParams, PseudoDomain

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
