"""Pseudo images kept out of training so that they can choose among its weights."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import pandas as pd

from dg_project.core.errors import DataError


@dataclass(frozen=True)
class Fold:
    """Manifests of one fold of ``leave_one_pseudo_out``.

    Attributes:
        source: the source's rows without the held-out scenes.
        pseudo: pseudo images without the held-out domain and without those scenes.
        held_out: kept pseudo images of that domain and those scenes; they choose and never train.
    """

    source: pd.DataFrame
    pseudo: pd.DataFrame
    held_out: pd.DataFrame


def leave_one_pseudo_out(source: pd.DataFrame, pseudo: pd.DataFrame, seed: int, share: float) -> Fold:
    """Split what training may open so that neither the weather nor the scenes of the held-out images train.

    The domain is number ``seed`` (modulo K), so that seeds take turns; the scenes are the same for every seed.

    Args:
        source: rows of the source domain.
        pseudo: pseudo manifest.
        seed: of the training.
        share: of the scenes that have pseudo images, at least one.

    Raises:
        DataError: there are fewer than two pseudo domains or scenes, or the gate dropped every held-out image.
    """
    domains = list(dict.fromkeys(pseudo["domain"]))
    scenes = sorted(set(pseudo["source_image_id"].astype(str)), key=lambda name: hashlib.sha256(name.encode()).digest())
    if min(len(domains), len(scenes)) < 2:
        raise DataError(f"training.selection leave_one_pseudo_out leaves one pseudo domain and some scenes to train "
                        f"on, but there are {len(domains)} domain(s) of {len(scenes)} scene(s); add some to synthesis, "
                        "or set training.selection to source_val")
    domain = domains[seed % len(domains)]
    held = set(scenes[:min(len(scenes) - 1, math.ceil(share * len(scenes)))])
    ours = source["image_id"].astype(str).isin(held) & (source["split"] == "train")
    theirs = pseudo["source_image_id"].astype(str).isin(held)
    kept = pseudo["kept"].astype(bool) if "kept" in pseudo else pd.Series(True, pseudo.index)
    parts = source[~ours], pseudo[~theirs & (pseudo["domain"] != domain)], pseudo[
        theirs & (pseudo["domain"] == domain) & kept]
    fold = Fold(*(part.reset_index(drop=True) for part in parts))
    if fold.held_out.empty:
        raise DataError("training.selection leave_one_pseudo_out: the gate dropped every held-out image of "
                        f"'{domain}'; raise training.held_out_share, loosen sampling.gate, or choose source_val")
    return fold
