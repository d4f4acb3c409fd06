"""Train methods on the source and its pseudo domains. No target is an input of these functions.

Methods that adapt also get target images: the unlabelled ones of ``adapt_manifest``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.core.cache import publish_folder, publish_folders, publish_images
from dg_project.core.files import FolderWriter
from dg_project.pipelines.paths import locate, read_parameters
from dg_project.pipelines.training.painter import open_painter


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
    from dg_project.experiments.training_data import TrainingData
    from dg_project.experiments.training_run import train_method

    settings = read_parameters(parameters)
    data = TrainingData(source, locate(settings.data.root), pseudo, pseudo_images, adapt=adapt)
    trained = train_method(method, settings, data, locate(settings.workspace))
    return publish_folder(trained.folder), trained.history


def train_domainfusion(source: pd.DataFrame, parameters: dict[str, Any]) -> tuple[
        FolderWriter, pd.DataFrame, FolderWriter, FolderWriter, pd.DataFrame]:
    """Train DomainFusion: some epochs, then a refresh of the synthetic set, and so on.

    Returns:
        A writer of the model's folder and its history; a writer of every renewed set (images, manifest, card); the last
        set as a writer of pseudo images and their manifest.
    """
    from dg_project.experiments.training_data import TrainingData
    from dg_project.experiments.training_run import train_method

    settings = read_parameters(parameters)
    data = TrainingData(source, locate(settings.data.root))
    trained = train_method("domainfusion", settings, data, locate(settings.workspace))
    renewed, last = trained.sets[1:], trained.sets[-1]
    return (publish_folder(trained.folder), trained.history, publish_folders({s.root.name: s.root for s in renewed}),
            publish_images(last.root, last.manifest), last.manifest)


def train_in_rounds(source: pd.DataFrame, parameters: dict[str, Any]) -> tuple[
        FolderWriter, pd.DataFrame, FolderWriter, pd.DataFrame, pd.DataFrame]:
    """Train ``params:method`` in the closed loop.

    Returns:
        A writer of the model's folder and its history; a writer of the folder of all rounds; the manifest of the last
        round's training set, relative to that folder; the allocation table.
    """
    from dg_project.experiments.closed_loop.loop import run_closed_loop
    from dg_project.experiments.training_data import TrainingData

    settings = read_parameters(parameters)
    outcome = run_closed_loop(settings.method, settings, TrainingData(source, locate(settings.data.root)),
                              open_painter(settings), locate(settings.workspace))
    return (publish_folder(outcome.trained.folder), outcome.trained.history, publish_folder(outcome.rounds),
            outcome.pseudo, outcome.allocation)
