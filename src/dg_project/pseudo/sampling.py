"""From candidates to pseudo domains: selection among the candidates of each image, then the label-fidelity gate."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from dg_project.config import SamplingParams
from dg_project.core.errors import DataError
from dg_project.core.files import file_hash, inside, link_or_copy
from dg_project.data.dataset import row_target
from dg_project.data.images import load_image, save_image, to_float
from dg_project.data.manifest import image_path
from dg_project.pseudo.gate import box_visibility, gate
from dg_project.pseudo.selection import Selection, select

logger = logging.getLogger(__name__)

Recognise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""image (3, H, W) in 0..1, boxes (n, 4), labels (n,) -> how probable every box's own class is, (n,)."""

SELECTION_COLUMNS: dict[str, str] = {
    "candidates": "how many there were to choose from",
    "style_distance": "of the chosen candidate from its source image",
    "content_similarity": "of the chosen candidate to its source image, -1 to 1",
    "visibility": "per box: how much of the source's object is still to be seen, -1 to 1",
}


def sample(source: pd.DataFrame, source_root: Path, candidates: pd.DataFrame, candidate_root: Path,
           params: SamplingParams, folder: Path, recognise: Recognise | None = None) -> pd.DataFrame:
    """Keep one image per source image and pseudo domain (or every one, ``params.keep``), and weigh it.

    Args:
        source: manifest that holds the source images of all candidates.
        source_root: folder that its paths are relative to.
        candidates: candidate manifest (``COLUMNS`` and ``PSEUDO_COLUMNS``).
        candidate_root: folder that its paths are relative to.
        params: selection and gate.
        folder: empty folder; gets the images as ``<domain>/<image_id>_<candidate>.png``.
        recognise: the CLIP filter of the gate; None leaves it out.

    Returns:
        The pseudo manifest, paths relative to ``folder``: the rows of the chosen candidates with ``SAMPLED_COLUMNS``
        and ``SELECTION_COLUMNS``. Dropped images stay in it, with ``kept`` False and the reason.

    Raises:
        DataError: a candidate was made from an image that is no source image, or the gate dropped every image.
    """
    origins = {str(row.image_id): row for row in source.itertuples()}
    rows = []
    alone = ["candidate"] if params.keep == "all" else []
    groups = candidates.groupby(["domain", "source_image_id", *alone], sort=False)
    for (domain, name, *_), group in tqdm(groups, "sampling", unit="image", mininterval=1):
        if str(name) not in origins:
            raise DataError(f"the candidates of '{domain}' were made from '{name}', which is no source image; run "
                            "`kedro run --pipeline=synthesis` again with the present data")
        original = to_float(load_image(image_path(source_root, origins[str(name)])))
        rows.append(_sample_one(original, group, candidate_root, params, folder, recognise))
    manifest = pd.DataFrame(rows)
    _tell(manifest)
    return manifest


def _sample_one(original: Tensor, group: pd.DataFrame, candidate_root: Path, params: SamplingParams, folder: Path,
                recognise: Recognise | None) -> dict[str, Any]:
    """Choose among the candidates of one source image and domain, store the image and return its row."""
    images = [to_float(load_image(image_path(candidate_root, row))) for row in group.itertuples()]
    chosen = select(images, original, params.decomposition, params.style_weight, params.content_weight,
                    params.recombine)
    row = {str(key): value for key, value in group.iloc[chosen.index].items()}
    target = row_target(group.iloc[chosen.index])
    visibility = box_visibility(original, chosen.image, target["boxes"])
    seen = visibility
    if recognise is not None:
        known = recognise(chosen.image, target["boxes"], target["labels"]) >= params.gate.min_recognition
        seen = visibility.masked_fill(~known, -math.inf)
    weight, kept, reason = gate(seen, target["difficult"], params.gate)
    image = f"{row['domain']}/{row['image_id']}_{row['candidate']}.png"
    path = inside(folder, image)
    _store(chosen, inside(candidate_root, row["image"]), path, params.recombine)
    return {**row, "image": image, "sha256": file_hash(path), "weight": weight, "kept": kept, "reason": reason,
            "candidates": len(group), "ldm_seconds": float(group["ldm_seconds"].sum()),
            "style_distance": chosen.style_distances[chosen.index],
            "content_similarity": chosen.content_similarities[chosen.index], "visibility": visibility.tolist()}


def _store(chosen: Selection, candidate: Path, path: Path, recombined: bool) -> None:
    if not recombined:
        link_or_copy(candidate, path)
        return
    save_image(chosen.image, path)


def _tell(manifest: pd.DataFrame) -> None:
    """Log what the gate did, domain by domain."""
    for domain, rows in manifest.groupby("domain", sort=False):
        dropped, lighter = int((~rows["kept"]).sum()), int((rows["kept"] & (rows["weight"] < 1)).sum())
        logger.info("pseudo domain '%s': %d images, %d down-weighted, %d dropped by the gate", domain, len(rows),
                    lighter, dropped)
    if not manifest["kept"].any():
        raise DataError("the gate dropped every pseudo image, so there is nothing to train on; look at the candidate "
                        "images, lower synthesis strength, or lower sampling.gate.drop_below and min_visibility")
