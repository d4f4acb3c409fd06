"""The embedded diffusion model is trained from captioned frames."""

from __future__ import annotations

from dg_project.files import FolderWriter
from dg_project.parameters import PretrainLDMParams
from dg_project.pipelines.lazy import pd
from dg_project.pipelines.paths import locate


def train_ldm(params: PretrainLDMParams, workspace: str) -> tuple[FolderWriter, pd.DataFrame]:
    """Train the autoencoder, then the denoiser; an interrupted training goes on after its last checkpoint.

    Returns:
        A writer of the diffusers folder with its model card, and the losses of both stages by step.
    """
    import pandas

    from dg_project.diffusion.tiny import pretrain
    from dg_project.workspace import code_hash, place

    runtime = {"device", "threads", "checkpoint_every", "corpus"}
    located = params.model_copy(update={"corpus": str(locate(params.corpus))})
    folder = place(locate(workspace), "pretrain_ldm", params.model_dump(mode="json", exclude=runtime), params.corpus,
                   code_hash("diffusion/tiny"))
    write = pretrain(located, folder)
    stages = [pandas.read_csv(folder / f"{name}_losses.csv").set_index("step").add_prefix(f"{name}/")
              for name in ("vae", "unet")]
    return write, pandas.concat(stages, axis=1).reset_index()
