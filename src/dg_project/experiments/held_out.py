"""Hold pseudo images out of training so that they can select its weights."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import pandas as pd

from dg_project.core.errors import DataError


@dataclass(frozen=True)
class HeldOut:
    """Manifests of a ``leave_one_pseudo_out`` split.

    Attributes:
        source: the source's rows without the held-out scenes.
        pseudo: pseudo images without the held-out domain and without those scenes.
        held_out: kept pseudo images of that domain and those scenes; they select weights and never train.
    """

    source: pd.DataFrame
    pseudo: pd.DataFrame
    held_out: pd.DataFrame


def leave_one_pseudo_out(source: pd.DataFrame, pseudo: pd.DataFrame, seed: int, share: float) -> HeldOut:
    """Split the data so that neither the weather nor the scenes of the held-out images train.

    The domain is number ``seed`` (modulo K), so that seeds take turns; the scenes are the same for every seed.

    Args:
        source: rows of the source domain.
        pseudo: manifest of the pseudo domains.
        seed: random seed of the training.
        share: share of the scenes with pseudo images; at least one scene.

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
    source_held = source["image_id"].astype(str).isin(held) & (source["split"] == "train")
    pseudo_held = pseudo["source_image_id"].astype(str).isin(held)
    kept = pseudo["kept"].astype(bool) if "kept" in pseudo else pd.Series(True, pseudo.index)
    parts = source[~source_held], pseudo[~pseudo_held & (pseudo["domain"] != domain)], pseudo[
        pseudo_held & (pseudo["domain"] == domain) & kept]
    split = HeldOut(*(part.reset_index(drop=True) for part in parts))
    if split.held_out.empty:
        raise DataError("training.selection leave_one_pseudo_out: the gate dropped every held-out image of "
                        f"'{domain}'; raise training.held_out_share, loosen sampling.gate, or choose source_val")
    return split
