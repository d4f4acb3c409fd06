"""The embedded diffusion model is trained from captioned frames."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.config import PretrainLDMParams, Settings
from dg_project.core.cache import cache_folder, publish_folder
from dg_project.core.files import FolderWriter, file_hash

ORACLE_THRESHOLD = 0.5


def train_oracle(settings: Settings) -> FolderWriter:
    """Train the detector that finds out which objects the diffusion model loses."""
    from dg_project.pretraining.ldm import object_detector

    trained = object_detector.train_oracle(settings, Path(settings.pretrain_ldm.corpus), Path(settings.workspace))
    return publish_folder(trained.folder)


def train_ldm(params: PretrainLDMParams, oracle_model: Path, workspace: str) -> tuple[FolderWriter, pd.DataFrame]:
    """Train autoencoder, denoiser and their last stage; an interrupted training goes on after its last checkpoint.

    Returns:
        A writer of the diffusers folder with its model card, and the losses of the stages by step.
    """
    from dg_project.pretraining.ldm.object_detector import open_oracle
    from dg_project.pretraining.ldm.recipe import pretrain

    ignored = {"device", "threads", "checkpoint_every", "corpus"}  # the captions stand for the corpus
    captions = file_hash(Path(params.corpus) / "captions.csv")
    folder = cache_folder(Path(workspace), "pretrain_ldm", params.model_dump(mode="json", exclude=ignored), captions,
                   code=["dg_project.pretraining.ldm.recipe"])
    write = pretrain(params, folder, open_oracle(oracle_model, params.device, ORACLE_THRESHOLD))
    stages = [pd.read_csv(folder / f"{name}_losses.csv").set_index("step").add_prefix(f"{name}/")
              for name in ("vae", "unet", "critic") if (folder / f"{name}_losses.csv").exists()]
    return write, pd.concat(stages, axis=1).reset_index()
