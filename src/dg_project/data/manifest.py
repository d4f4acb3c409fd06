"""The manifest: a table with one row per image of one or more domains, passed between pipelines instead of images.

Paths are relative to a root that is passed separately, so a manifest can be moved with its folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dg_project.core.errors import DataError
from dg_project.core.files import fingerprint_rows, inside

COLUMNS: dict[str, str] = {
    "image_id": "unique within its domain",
    "domain": "name of the domain",
    "role": "source | pseudo | target | adapt",
    "split": "train | val | test | adapt",
    "image": "path of the image, relative to the root",
    "width": "pixels",
    "height": "pixels",
    "boxes": "list of [x0, y0, x1, y1], absolute pixels, 0-based, x1/y1 exclusive",
    "labels": "list of int, 1-based index into the class list (0 is background); -k: the kth of data.ignore_classes,"
              " always difficult",
    "difficult": "list of bool: excluded from losses and scores",
    "mask": "path of the semantic mask as its data set stores it, or ''; always relative to the source data root,"
            " because a pseudo image uses the mask of its source image",
    "mask_ids": "how its ids become train ids: a name in data.masks.ENCODINGS, or ''",
    "instances": "path of the index map or COCO file with the instance masks, or ''; relative to the same root as mask",
    "instance_ids": "list of int: value of each box in the index map, or id of its COCO annotation; [] without masks",
    "labels_sha256": "hash of the mask and the index map, or ''",
    "sha256": "hash of the image file",
}
ORIGIN_COLUMNS: dict[str, str] = {
    "classes": "class names of the labels 1, 2, ... as JSON",
    "mask_classes": "class names of the train ids 0, 1, ... as JSON, or ''",
    "pixel_format": "channels and depth of the image file, such as 'RGB, 8 bit'",
    "mask_pixels": "list of int: pixels of the train ids 0, 1, ... in the mask; [] without a mask",
}
"""Columns that say what label numbers mean and what was read; manifests of earlier versions lack them."""
NOTES = ("warnings", "left_aside")
"""Lists of messages of the readers in ``manifest.attrs``, for the data card."""
NO_MASKS: dict[str, Any] = {"mask": "", "mask_ids": "", "instances": "", "instance_ids": (), "labels_sha256": ""}
"""Columns of a row without masks."""
ADAPT = "adapt"
"""Role and split of unlabelled target images; methods see them as a single domain of this name."""
PSEUDO_COLUMNS: dict[str, str] = {
    "source_image_id": "source image that this one was made from, with the same boxes",
    "candidate": "index of the candidate, 0-based",
    "prompt": "text prompt of the diffusion model, name of the corruption, or path of the style image",
    "strength": "strength of the change, 0 to 1",
    "guidance_scale": "classifier-free guidance; 1 without it",
    "steps": "denoising steps; 0 without a diffusion model",
    "seed": "random seed of this image",
    "model": "fingerprint of the diffusion checkpoint, or name of the generator",
    "ldm_seconds": "generation time in seconds",
}
SAMPLED_COLUMNS: dict[str, str] = {
    "weight": "weight of the image in the losses, 0 to 1",
    "kept": "False: dropped by the gate; training never opens it",
    "reason": "reason for dropping or down-weighting it, or ''",
}


def validate_manifest(manifest: pd.DataFrame, classes: list[str], name: str = "manifest") -> pd.DataFrame:
    """Check columns, ids, labels and boxes; return the manifest unchanged.

    Raises:
        DataError: a column is missing, the manifest is empty, an id is duplicated, or a label or box is invalid.
    """
    if missing := [c for c in COLUMNS if c not in manifest.columns]:
        raise DataError(f"{name}: column(s) {missing} are missing; write it with `kedro run --pipeline=ingestion`")
    if manifest.empty:
        raise DataError(f"{name}: it has no image; check the data root, the domain names and the splits")
    key = ["domain", "image_id"] + (["candidate"] if "candidate" in manifest else [])
    if (twice := manifest.duplicated(key)).any():
        raise DataError(f"{name}: image id '{manifest.loc[twice, 'image_id'].iloc[0]}' comes twice in one domain")
    row: Any
    for row in manifest.itertuples():
        check_boxes(np.asarray(list(row.boxes), float).reshape(-1, 4), row.width, row.height, f"{name}: {row.image}")
        known = [1 <= label <= len(classes) or (label < 0 and hard)
                 for label, hard in zip(row.labels, row.difficult, strict=False)]
        if not all(known) or not len(row.labels) == len(row.difficult) == len(row.boxes):
            raise DataError(f"{name}: {row.image} has labels {list(row.labels)} for {len(row.boxes)} boxes and "
                            f"{len(classes)} classes")
        instances = len(row.boxes) if row.instances else 0
        if bool(row.mask) != bool(row.mask_ids) or len(row.instance_ids) != instances:
            raise DataError(f"{name}: {row.image} has a mask without mask_ids, or not one instance id per box; "
                            "ingest again")
    return manifest


def sound_boxes(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return (n,) bool: which boxes (n, 4) xyxy are finite, not empty and inside the image."""
    x0, y0, x1, y1 = boxes.reshape(-1, 4).T
    # Comparisons with NaN are false, and an infinite corner is outside.
    return np.asarray((x1 > x0) & (y1 > y0) & (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height))


def check_boxes(boxes: np.ndarray, width: int, height: int, where: str) -> None:
    """Raise ``DataError`` for a box (xyxy) that is NaN, inverted, empty or outside the image."""
    for box in boxes[~sound_boxes(boxes, width, height)]:
        x0, y0, x1, y1 = box
        if not np.isfinite(box).all():
            problem = "is not finite"
        elif x1 <= x0 or y1 <= y0:
            problem = "is inverted or empty"
        else:
            problem = f"is outside the {width}x{height} image"
        raise DataError(f"{where}: the box {box.tolist()} {problem}; fix the annotation")


def image_path(root: Path, row: Any) -> Path:
    """Return the checked path of a manifest row's image."""
    return inside(root, row.image)


def select(manifest: pd.DataFrame, *, split: str | None = None, domain: str | None = None,
           role: str | None = None) -> pd.DataFrame:
    """Return the rows of a split, domain and/or role, re-indexed from 0."""
    rows = manifest
    for column, value in (("split", split), ("domain", domain), ("role", role)):
        rows = rows if value is None else rows[rows[column] == value]
    return rows.reset_index(drop=True)


def noted(manifests: Iterable[pd.DataFrame], note: str) -> list[str]:
    """Return the messages of some manifests under a name in ``NOTES``."""
    return [message for manifest in manifests for message in manifest.attrs.get(note, [])]


def manifest_fingerprint(manifest: pd.DataFrame) -> str:
    """Return 16 hex digits of the images, boxes, masks and weights that the manifest names."""
    def identity(row: Any) -> tuple[Any, ...]:
        boxes = [[float(x) for x in box] for box in row.boxes]
        weight, kept = float(getattr(row, "weight", 1.0)), bool(getattr(row, "kept", True))
        masks = row.mask_ids, row.labels_sha256, [int(k) for k in row.instance_ids]
        return row.domain, row.image_id, row.sha256, boxes, [int(label) for label in row.labels], masks, weight, kept

    return fingerprint_rows(identity(row) for row in manifest.itertuples())
