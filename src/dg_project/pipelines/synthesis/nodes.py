"""Source training images become candidates in other weather."""

from __future__ import annotations

from dg_project.files import FolderWriter
from dg_project.parameters import LDMParams, SynthesisParams
from dg_project.pipelines.lazy import pd
from dg_project.pipelines.paths import locate, locate_checkpoint


def generate_candidates(source: pd.DataFrame, root: str, ldm: LDMParams, synthesis: SynthesisParams, seed: int,
                        device: str, workspace: str) -> tuple[FolderWriter, pd.DataFrame]:
    """Make ``synthesis.candidates`` images per source training image and pseudo domain.

    Images that the workspace holds already (an interrupted run, or one with the same inputs) are not made again.

    Returns:
        A writer of the folder of images, and their manifest.
    """
    from dg_project.diffusion.generator import Generator
    from dg_project.diffusion.synthesis import synthesise
    from dg_project.domains.manifest import select
    from dg_project.training.device import resolve_device
    from dg_project.workspace import code_hash, place, publish_images

    rows = select(source, split="train").head(synthesis.n_images or len(source))
    generator = Generator.open(locate_checkpoint(ldm.checkpoint), ldm.dtype, resolve_device(device), ldm.scheduler)
    # The speed may change between two runs of the same work; a card beside each image says what else it was made from.
    quality = ldm.model_dump(exclude={"checkpoint", "batch_size"})
    code = code_hash("diffusion/generator.py")
    folder = place(locate(workspace), "synthesis", generator.fingerprint, quality, seed, code)
    candidates = synthesise(rows, locate(root), synthesis.domains, ldm, synthesis.candidates, seed, generator, folder)
    return publish_images(folder, candidates), candidates
