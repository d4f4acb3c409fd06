"""Pseudo images for a study that trains on several sets of them: the stages synthesis and sampling in one call."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.config import Settings
from dg_project.core.cache import cache_folder
from dg_project.core.files import FolderWriter, atomic_folder
from dg_project.data.manifest import manifest_fingerprint
from dg_project.pipelines.sampling.nodes import sample_pseudo_domains
from dg_project.pipelines.synthesis.nodes import generate_candidates


def pseudo_images(source: pd.DataFrame, settings: Settings, seed: int) -> tuple[pd.DataFrame, Path]:
    """Generate and sample the pseudo images of source images, unless they are cached; return manifest and folder.

    Args:
        source: manifest of the source domain or domains, in the order in which images are used.
        settings: how the images are made.
        seed: seed of the images.
    """
    data, device, workspace = settings.data, settings.training.device, settings.workspace
    writer, candidates = generate_candidates(source, data, settings.ldm, settings.synthesis, seed, device, workspace)
    images = _published(writer, candidates, workspace)
    writer, pseudo = sample_pseudo_domains(source, data.root, data.classes, images, candidates, settings.sampling,
                                           device, workspace)
    return pseudo, _published(writer, pseudo, workspace)


def _published(writer: FolderWriter, manifest: pd.DataFrame, workspace: str) -> Path:
    """Return a folder of the workspace with the images that a stage publishes (links, not copies)."""
    key = manifest_fingerprint(manifest), [str(name) for name in manifest["image"]]
    folder = cache_folder(Path(workspace), "published_images", *key, code=[__name__]) / "images"
    if not folder.is_dir():
        with atomic_folder(folder) as new:
            writer(new)
    return folder
