"""Select one candidate per source image and pseudo domain, and weight it by its visible objects."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.config import SamplingParams
from dg_project.core.cache import cache_folder, lock_folder, publish_images
from dg_project.core.files import FolderWriter, atomic_folder, folder_hash
from dg_project.data.manifest import manifest_fingerprint
from dg_project.data.origin import check_classes, check_images, check_pairs


def sample_pseudo_domains(source: pd.DataFrame, root: str, classes: list[str], candidate_images: Path,
                          candidates: pd.DataFrame, sampling: SamplingParams, device: str,
                          workspace: str) -> tuple[FolderWriter, pd.DataFrame]:
    """Keep the candidate with the most different style and most similar content; drop or down-weight lost objects.

    Returns:
        A writer of the image folder, and the manifest with ``weight``, ``kept`` and ``reason``.
    """
    from dg_project.core.device import resolve_device
    from dg_project.pseudo.sampling import sample
    from dg_project.vlm.clip import Recogniser

    check_classes(candidates, classes, "detection", "this run (data.classes)")
    check_pairs(candidates, source)
    check_images(source, Path(root))
    check_images(candidates, candidate_images)
    clip = sampling.gate.clip
    weights = [folder_hash(Path(clip))] if clip and Path(clip).is_dir() else []
    folder = cache_folder(Path(workspace), "sampling", manifest_fingerprint(source), manifest_fingerprint(candidates),
                   candidates["candidate"].tolist(), sampling, *weights,
                          code=["dg_project.pseudo.sampling"]) / "sampled"
    with lock_folder(folder.parent):
        if not folder.exists():
            recognise = Recogniser(clip, classes, resolve_device(device)) if clip else None
            with atomic_folder(folder) as new:
                chosen = sample(source, Path(root), candidates, candidate_images, sampling, new, recognise)
                chosen.to_parquet(new / "manifest.parquet")
    manifest = pd.read_parquet(folder / "manifest.parquet")
    return publish_images(folder, manifest), manifest
