"""Train methods on the source and its pseudo domains. No target is an input of these functions.

Methods that adapt also get target images: the unlabelled ones of ``adapt_manifest``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.config import Settings
from dg_project.core.cache import publish_folder, publish_folders, publish_images
from dg_project.core.files import FolderWriter
from dg_project.pipelines.training.painter import open_painter


def train_method(method: str, settings: Settings, source: pd.DataFrame, pseudo_images: Path | None = None,
                 pseudo: pd.DataFrame | None = None,
                 adapt: pd.DataFrame | None = None) -> tuple[FolderWriter, pd.DataFrame]:
    """Train a method.

    Args:
        method: method name.
        settings: all parameters.
        source: manifest of the source.
        pseudo_images: folder of the pseudo images.
        pseudo: manifest of the pseudo images; None trains on the source alone.
        adapt: manifest of unlabelled target images, for methods that adapt.

    Returns:
        A writer of the model's folder, and the losses by step.
    """
    from dg_project.experiments.training_data import TrainingData
    from dg_project.experiments.training_run import TrainingRun

    data = TrainingData(source, Path(settings.data.root), pseudo, pseudo_images, adapt=adapt)
    trained = TrainingRun.resolve(method, settings, data, Path(settings.workspace)).train()
    return publish_folder(trained.folder), trained.history


def train_baseline(settings: Settings, source: pd.DataFrame) -> tuple[FolderWriter, pd.DataFrame]:
    """Train ERM on the source alone, with as many steps and images per step as the method."""
    return train_method("erm", settings, source)


def train_naive(settings: Settings, source: pd.DataFrame, pseudo_images: Path,
                pseudo: pd.DataFrame) -> tuple[FolderWriter, pd.DataFrame]:
    """Train naive mixing, with as many steps and images per step as the method."""
    return train_method("naive", settings, source, pseudo_images, pseudo)


def train_domainfusion(settings: Settings, source: pd.DataFrame) -> tuple[
        FolderWriter, pd.DataFrame, FolderWriter, FolderWriter, pd.DataFrame]:
    """Train DomainFusion: some epochs, then a refresh of the synthetic set, and so on.

    Returns:
        A writer of the model's folder and its history; a writer of every renewed set (images, manifest, card); the last
        set as a writer of pseudo images and their manifest.
    """
    from dg_project.experiments.training_data import TrainingData
    from dg_project.experiments.training_run import TrainingRun

    data = TrainingData(source, Path(settings.data.root))
    trained = TrainingRun.resolve("domainfusion", settings, data, Path(settings.workspace)).train()
    renewed, last = trained.sets[1:], trained.sets[-1]
    return (publish_folder(trained.folder), trained.history, publish_folders({s.root.name: s.root for s in renewed}),
            publish_images(last.root, last.manifest), last.manifest)


def train_in_rounds(method: str, settings: Settings, source: pd.DataFrame) -> tuple[
        FolderWriter, pd.DataFrame, FolderWriter, pd.DataFrame, pd.DataFrame]:
    """Train a method in the closed loop.

    Returns:
        A writer of the model's folder and its history; a writer of the folder of all rounds; the manifest of the last
        round's training set, relative to that folder; the allocation table.
    """
    from dg_project.experiments.closed_loop.loop import run_closed_loop
    from dg_project.experiments.training_data import TrainingData

    outcome = run_closed_loop(method, settings, TrainingData(source, Path(settings.data.root)), open_painter(settings),
                              Path(settings.workspace))
    return (publish_folder(outcome.trained.folder), outcome.trained.history, publish_folder(outcome.rounds),
            outcome.pseudo, outcome.allocation)
