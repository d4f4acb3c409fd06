"""Generate candidate images of the pseudo domains from source training images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.config import DataParams, LDMParams, SynthesisParams
from dg_project.core.cache import cache_folder, publish_images
from dg_project.core.files import FolderWriter
from dg_project.data.manifest import select
from dg_project.data.origin import check_classes


def generate_candidates(source: pd.DataFrame, data: DataParams, ldm: LDMParams, synthesis: SynthesisParams, seed: int,
                        device: str, workspace: str) -> tuple[FolderWriter, pd.DataFrame]:
    """Generate ``synthesis.candidates`` images per source training image and pseudo domain.

    Images that are already in the workspace (from an interrupted run, another shard, or the same inputs) are reused.

    Returns:
        A writer of the image folder, and the manifest.
    """
    from dg_project.experiments.origin import check_source
    from dg_project.pseudo.generators.opening import open_generator
    from dg_project.pseudo.synthesis import eligible, synthesise

    check_source(source, data.source, "this run")
    check_classes(source, data.classes, "detection", "this run (data.classes)")
    rows = eligible(select(source, split="train"), synthesis.min_boxes, synthesis.max_boxes, synthesis.n_images)
    generator = open_generator(synthesis, ldm, data, device)
    # The key leaves out what changes only the speed; a card next to each image records its other inputs.
    folder = cache_folder(Path(workspace), "synthesis", generator.fingerprint, generator.settings, seed,
                          code=["dg_project.pseudo.synthesis", type(generator).__module__])
    candidates = synthesise(rows, Path(data.root), synthesis.domains, generator, synthesis.candidates, seed, folder,
                            synthesis.shard)
    return publish_images(folder, candidates), candidates
