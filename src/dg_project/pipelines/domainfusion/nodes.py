"""DomainFusion is trained while its synthetic set is renewed. No target is in reach of these functions."""

from __future__ import annotations

from typing import Any

from dg_project.config import LDMParams, SynthesisParams
from dg_project.core.files import FolderWriter
from dg_project.pipelines.lazy import pd


def train_domainfusion(
    source: pd.DataFrame, ldm: LDMParams, synthesis: SynthesisParams, parameters: dict[str, Any],
) -> tuple[FolderWriter, pd.DataFrame, FolderWriter, FolderWriter, pd.DataFrame]:
    """Train in rounds: some epochs, then a refresh of the synthetic set.

    Args:
        source: manifest of the source.
        ldm: looked at before the run; among ``parameters`` too.
        synthesis: likewise; its domains say what the candidates are asked for.
        parameters: all of them.

    Returns:
        Writers of the model's folder, its history, a writer of every renewed set (images, manifest, card), and the last
        set as pseudo images and their manifest.
    """
    from dg_project.core.cache import publish_folder, publish_folders, publish_images
    from dg_project.experiments.training_data import TrainingData
    from dg_project.experiments.training_run import TrainingRun
    from dg_project.pipelines.paths import locate, read_parameters

    settings = read_parameters(parameters)
    data = TrainingData(source, locate(settings.data.root))
    trained = TrainingRun.resolve("domainfusion", settings, data, locate(settings.workspace)).train()
    renewed, last = trained.sets[1:], trained.sets[-1]
    return (publish_folder(trained.folder), trained.history, publish_folders({s.root.name: s.root for s in renewed}),
            publish_images(last.root, last.manifest), last.manifest)
