"""Train diffusion models on image folders, one per domain that is left out."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from dg_project.config import Settings
from dg_project.core.cache import cache_folder, lock_folder, publish_folders
from dg_project.core.files import FolderWriter, weights_hash
from dg_project.data.manifest import manifest_fingerprint

logger = logging.getLogger(__name__)

NOT_SETTINGS = {"device", "threads", "checkpoint_every", "domains", "held_out", "vae_start"}
"""Parameters that change no weight, or that stand in the key as images and hashes."""


def train_folder_ldms(settings: Settings) -> tuple[FolderWriter, pd.DataFrame]:
    """Train one model after the other; an interrupted run continues at its last checkpoint.

    Returns:
        A writer of a folder with one diffusers folder per model, named like the domain that it leaves out, and the
        losses of all models by step.
    """
    from dg_project.diffusion.captions import check_distinct
    from dg_project.pretraining.folder_ldm.pictures import EVERYTHING, list_images, planned
    from dg_project.pretraining.folder_ldm.recipe import Sources, histories, pretrain

    params, root = settings.pretrain_folder_ldm, Path(settings.data.root)
    start = weights_hash(Path(params.vae_start) / "vae") if params.vae_start else ""
    models: dict[str, Path] = {}
    for name, domains in planned(root, params).items():
        rows = list_images(root, domains, params.classes, settings.data, params.size)
        check_distinct(params.captions[0], domains, sorted(set(rows["class_name"])))
        folder = cache_folder(Path(settings.workspace), "pretrain_folder_ldm", params.model_dump(
            mode="json", exclude=NOT_SETTINGS), start, manifest_fingerprint(rows),
            code=["dg_project.pretraining.folder_ldm.recipe"])
        logger.info("LDM %d: %d images of %s", len(models) + 1, len(rows), ", ".join(domains))
        with lock_folder(folder):
            models[name] = pretrain(params, Sources(rows, root, None if name == EVERYTHING else name), folder)
    return publish_folders(models), histories([(name, model.parent) for name, model in models.items()])
