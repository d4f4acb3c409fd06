"""A method is trained on the source and its pseudo domains. No target is in reach of these functions.

Only those that adapt get target images too: the unlabelled ones of ``adapt_manifest``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dg_project.core.files import FolderWriter
from dg_project.pipelines.lazy import pd
from dg_project.pipelines.paths import locate, read_parameters


def train_method(source: pd.DataFrame, pseudo_images: Path, pseudo: pd.DataFrame,
                 parameters: dict[str, Any]) -> tuple[FolderWriter, pd.DataFrame]:
    """Train the method that ``params:method`` names; return a writer of the model's folder and its history."""
    return _train(parameters["method"], source, parameters, pseudo, pseudo_images)


def train_source_method(source: pd.DataFrame, parameters: dict[str, Any]) -> tuple[FolderWriter, pd.DataFrame]:
    """Train the method that ``params:method`` names on the source alone; return what ``train_method`` returns."""
    return _train(parameters["method"], source, parameters)


def train_baseline(source: pd.DataFrame, parameters: dict[str, Any]) -> tuple[FolderWriter, pd.DataFrame]:
    """Train ERM on the source alone, for as many steps and images per step as the method gets."""
    return _train("erm", source, parameters)


def train_adapting_method(source: pd.DataFrame, pseudo_images: Path, pseudo: pd.DataFrame, adapt: pd.DataFrame,
                          parameters: dict[str, Any]) -> tuple[FolderWriter, pd.DataFrame]:
    """Train ``params:uda.method`` with the unlabelled target images."""
    return _train(read_parameters(parameters).uda.method, source, parameters, pseudo, pseudo_images, adapt=adapt)


def train_adapting_baseline(source: pd.DataFrame, pseudo_images: Path, pseudo: pd.DataFrame, adapt: pd.DataFrame,
                            parameters: dict[str, Any]) -> tuple[FolderWriter, pd.DataFrame]:
    """Train ``params:uda.baseline`` with the same images, for as many steps."""
    return _train(read_parameters(parameters).uda.baseline, source, parameters, pseudo, pseudo_images, adapt=adapt)


def _train(method: str, source: pd.DataFrame, parameters: dict[str, Any], pseudo: pd.DataFrame | None = None,
           pseudo_images: Path | None = None, adapt: pd.DataFrame | None = None) -> tuple[FolderWriter, pd.DataFrame]:
    from dg_project.core.cache import publish_folder
    from dg_project.experiments.training_data import TrainingData
    from dg_project.experiments.training_run import TrainingRun

    settings = read_parameters(parameters)
    data = TrainingData(source, locate(settings.data.root), pseudo, pseudo_images, adapt=adapt)
    trained = TrainingRun.resolve(method, settings, data, locate(settings.workspace)).train()
    return publish_folder(trained.folder), trained.history
