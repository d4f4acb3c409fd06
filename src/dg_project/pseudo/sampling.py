"""Sample pseudo domains: select among the candidates of each source image, then apply the label-fidelity gate."""

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
from dg_project.data.dataset import row_image, row_target
from dg_project.data.images import load_image, save_image, to_float
from dg_project.data.manifest import image_path
from dg_project.pseudo.gate import box_visibility, gate
from dg_project.pseudo.selection import StyleContentChoice, select

logger = logging.getLogger(__name__)

Recognise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""image (3, H, W) in 0..1, boxes (n, 4), labels (n,) -> probability of each box's own class, (n,)."""

SELECTION_COLUMNS: dict[str, str] = {
    "candidates": "number of candidates",
    "style_distance": "style distance between the chosen candidate and its source image",
    "content_similarity": "content similarity of the chosen candidate and its source image, -1 to 1",
    "visibility": "how visible the object in each box still is, -1 to 1",
}


def sample(source: pd.DataFrame, source_root: Path, candidates: pd.DataFrame, candidate_root: Path,
           params: SamplingParams, folder: Path, recognise: Recognise | None = None) -> pd.DataFrame:
    """Keep one image per source image and pseudo domain (or all, ``params.keep``) and weight it by the gate.

    Args:
        source: manifest with the source images of all candidates.
        source_root: folder of its relative paths.
        candidates: candidate manifest (``COLUMNS`` and ``PSEUDO_COLUMNS``).
        candidate_root: folder of its relative paths.
        params: parameters of selection and gate.
        folder: empty output folder; images become ``<domain>/<image_id>_<candidate>.png``.
        recognise: CLIP filter of the gate; None turns it off.

    Returns:
        The pseudo manifest, paths relative to ``folder``: the rows of the chosen candidates with ``SAMPLED_COLUMNS``
        and ``SELECTION_COLUMNS``. Dropped images are included, with ``kept`` False and the reason.

    Raises:
        DataError: a candidate's source image is not in ``source``, or the gate dropped every image.
    """
    origins = {str(row.image_id): row for row in source.itertuples()}
    rows = []
    keys = ["domain", "source_image_id"]
    if params.keep == "all":
        keys.append("candidate")
    groups = candidates.groupby(keys, sort=False)
    for (domain, name, *_), group in tqdm(groups, "sampling", unit="image", mininterval=1):
        if str(name) not in origins:
            raise DataError(f"the candidates of '{domain}' were made from '{name}', which is not a source image; run "
                            "`kedro run --pipeline=synthesis` again with the current data")
        original = to_float(row_image(source_root, origins[str(name)]))
        rows.append(_sample_one(original, group, candidate_root, params, folder, recognise))
    manifest = pd.DataFrame(rows)
    _check_gate(manifest)
    return manifest


def _sample_one(original: Tensor, group: pd.DataFrame, candidate_root: Path, params: SamplingParams, folder: Path,
                recognise: Recognise | None) -> dict[str, Any]:
    """Choose among the candidates of one source image and domain, save the image and return its row."""
    images = [to_float(load_image(image_path(candidate_root, row))) for row in group.itertuples()]
    chosen = select(images, original, params.decomposition, params.style_weight, params.content_weight,
                    params.recombine)
    row = {str(key): value for key, value in group.iloc[chosen.index].items()}
    target = row_target(group.iloc[chosen.index])
    visibility = box_visibility(original, chosen.image, target["boxes"])
    seen = visibility
    if recognise is not None:
        named = target["labels"] > 0
        known = recognise(chosen.image, target["boxes"][named], target["labels"][named]) >= params.gate.min_recognition
        seen = visibility.clone()
        seen[named] = visibility[named].masked_fill(~known, -math.inf)
    weight, kept, reason = gate(seen, target["difficult"], params.gate)
    image = f"{row['domain']}/{row['image_id']}_{row['candidate']}.png"
    path = inside(folder, image)
    _save(chosen, inside(candidate_root, row["image"]), path, params.recombine)
    return {**row, "image": image, "sha256": file_hash(path), "weight": weight, "kept": kept, "reason": reason,
            "candidates": len(group), "ldm_seconds": float(group["ldm_seconds"].sum()),
            "style_distance": chosen.style_distances[chosen.index],
            "content_similarity": chosen.content_similarities[chosen.index], "visibility": visibility.tolist()}


def _save(chosen: StyleContentChoice, candidate: Path, path: Path, recombined: bool) -> None:
    if recombined:
        save_image(chosen.image, path)
    else:
        link_or_copy(candidate, path)


def _check_gate(manifest: pd.DataFrame) -> None:
    """Log the gate's decisions by domain; raise ``DataError`` if it dropped every image."""
    for domain, rows in manifest.groupby("domain", sort=False):
        dropped, down_weighted = int((~rows["kept"]).sum()), int((rows["kept"] & (rows["weight"] < 1)).sum())
        logger.info("pseudo domain '%s': %d images, %d down-weighted, %d dropped by the gate", domain, len(rows),
                    down_weighted, dropped)
    if not manifest["kept"].any():
        raise DataError("the gate dropped every pseudo image, so there is nothing to train on; inspect the candidate "
                        "images, lower the strength of synthesis, or lower sampling.gate.drop_below and min_visibility")
