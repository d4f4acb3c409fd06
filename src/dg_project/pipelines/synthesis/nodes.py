"""Generate candidate images of the pseudo domains from source training images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.config import LDMParams, SynthesisParams
from dg_project.core.cache import cache_folder, publish_images
from dg_project.core.files import FolderWriter
from dg_project.data.manifest import select
from dg_project.data.origin import check_classes


def generate_candidates(source: pd.DataFrame, root: str, classes: list[str], ldm: LDMParams,
                        synthesis: SynthesisParams, seed: int, device: str,
                        workspace: str) -> tuple[FolderWriter, pd.DataFrame]:
    """Generate ``synthesis.candidates`` images per source training image and pseudo domain.

    Images that are already in the workspace (from an interrupted run, another shard, or the same inputs) are reused.

    Returns:
        A writer of the image folder, and the manifest.
    """
    from dg_project.core.device import resolve_device
    from dg_project.diffusion.generator import Generator
    from dg_project.diffusion.opening import check_strengths
    from dg_project.pseudo.synthesis import eligible, image_settings, synthesise

    check_classes(source, classes, "detection", "this run (data.classes)")
    rows = eligible(select(source, split="train"), synthesis.min_boxes, synthesis.max_boxes, synthesis.n_images)
    generator = Generator.from_params(ldm, resolve_device(device))
    chosen = generator.resolved(ldm)
    check_strengths(chosen.mode, synthesis.domains)
    # The key leaves out what changes only the speed; a card next to each image records its other inputs.
    folder = cache_folder(Path(workspace), "synthesis", generator.fingerprint, image_settings(chosen), seed,
                          code=["dg_project.pseudo.synthesis"])
    candidates = synthesise(rows, Path(root), synthesis.domains, chosen, synthesis.candidates, seed, generator,
                            folder, classes=classes, shard=synthesis.shard)
    return publish_images(folder, candidates), candidates
