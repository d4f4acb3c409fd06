"""Check that artifacts belong together: class names by label number, files by their hashes, pseudo images by origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dg_project.config import Task
from dg_project.core.errors import DataError
from dg_project.core.files import inside

LOOKED_AT = 8
"""Images per domain and split whose hashes are compared before cached work is used again."""
BLOCK = 1 << 20
"""Bytes read at once; annotation files may have gigabytes."""
AGAIN = "ingest again with `kedro run --pipeline=ingestion`"
SYNTHESISE_AGAIN = "run `kedro run --pipeline=synthesis` and `kedro run --pipeline=sampling` again"


def names_as_text(names: Sequence[str]) -> str:
    """Return class names as one text, for the columns ``classes`` and ``mask_classes`` of a manifest."""
    return json.dumps(list(names), ensure_ascii=False)


def check_classes(manifest: pd.DataFrame, classes: Sequence[str], task: Task, who: str) -> None:
    """Check that label numbers mean the same classes in a manifest and for a model.

    Manifests of earlier versions have no class names; they are not compared.

    Args:
        manifest: rows of any domains.
        classes: class names of the model, by label.
        task: semantic segmentation compares the names of train ids, other tasks those of boxes.
        who: name of the model in the message.

    Raises:
        DataError: the names differ.
    """
    column = "mask_classes" if task == "segmentation" else "classes"
    for stated in manifest[column].dropna().unique() if column in manifest else ():
        known = json.loads(stated) if stated else list(classes)
        # Masks may have further train ids: one without a class stops where the mask is opened.
        if (known[:len(classes)] if task == "segmentation" else known) != list(classes):
            where = manifest.loc[manifest[column] == stated, "domain"].iloc[0]
            names = "segmentation.classes" if task == "segmentation" else "data.classes"
            raise DataError(f"{who} knows the classes [{', '.join(classes)}], but the manifest of '{where}' was "
                            f"ingested with [{', '.join(known)}], so its label numbers mean other classes: set {names} "
                            f"to those of the model and {AGAIN}, or train the model on this data")


def check_file(path: Path, sha256: str) -> None:
    """Check that an image is the one that was ingested; a file of unchanged size and time is hashed only once.

    Raises:
        DataError: its content is another one, or it is missing.
    """
    if sha256 and hash_of(path) != sha256:
        raise DataError(f"{path}: this is not the file that was ingested (its sha256 is another one), so its labels "
                        f"may not fit; correct data.root, restore the file, or {AGAIN}")


def check_labels(row: Any, root: Path) -> None:
    """Check that the mask and the instances of a manifest row are those that were ingested; see ``check_file``."""
    expected, names = getattr(row, "labels_sha256", ""), [name for name in (row.mask, row.instances) if name]
    if expected and names and labels_hash([inside(root, name) for name in names]) != expected:
        raise DataError(f"{inside(root, names[0])}: the label files of '{row.image}' are not those that were ingested "
                        f"(their sha256 is another one); restore them, or {AGAIN}")


def labels_hash(paths: Sequence[Path]) -> str:
    """Return the sha256 of label files: of their bytes in this order, or '' without files."""
    return _hash(tuple((str(path), *_stamp(path)) for path in paths)) if paths else ""


def hash_of(path: Path) -> str:
    """Return the sha256 of a file; it is read again only when its size or time has changed."""
    return _hash(((str(path), *_stamp(path)),))


def check_images(manifest: pd.DataFrame, root: Path) -> None:
    """Compare a few images of each domain and split with the manifest, before cached work on it is used again."""
    for _, rows in manifest.groupby(["domain", "split"], sort=False):
        few = np.unique(np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).round().astype(int))
        for name, sha256 in rows.iloc[few][["image", "sha256"]].itertuples(index=False):
            check_file(inside(root, name), str(sha256 or ""))


def check_pairs(pseudo: pd.DataFrame, source: pd.DataFrame) -> None:
    """Check that pseudo images were made from these source images, with these labels.

    Raises:
        DataError: a source image is missing, or it or its labels changed after the pseudo image was made.
    """
    origins = {str(row.image_id): row for row in source.itertuples()}
    for row in pseudo.itertuples():
        origin = origins.get(str(row.source_image_id))
        made_from = getattr(row, "source_sha256", None)
        if origin is None:
            raise DataError(f"the pseudo image '{row.image}' was made from '{row.source_image_id}', which is not in the "
                            f"newest source_manifest: {SYNTHESISE_AGAIN}, or restore data.source and data.max_train and "
                            f"{AGAIN}")
        if _labels(row) != _labels(origin) or made_from not in (None, origin.sha256):
            raise DataError(f"the pseudo image '{row.image}' was made from an earlier '{origin.image}' (the image or "
                            f"its labels changed since): {SYNTHESISE_AGAIN}")


def _labels(row: Any) -> tuple[Any, ...]:
    return [[float(side) for side in box] for box in row.boxes], [int(label) for label in row.labels], row.mask_ids


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"the file '{path}' is missing ({error.strerror}); restore it, correct data.root, or "
                        f"{AGAIN}") from error
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1 << 18)
def _hash(stamped: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in stamped:
        with Path(path).open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
