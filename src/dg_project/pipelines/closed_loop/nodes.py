"""A method is trained in rounds; what it finds hard decides what is synthesised next. No target is in reach."""

from __future__ import annotations

from typing import Any

from dg_project.core.files import FolderWriter
from dg_project.pipelines.lazy import figure, pd


def train_in_rounds(source: pd.DataFrame, parameters: dict[str, Any]) -> tuple[
        FolderWriter, pd.DataFrame, FolderWriter, pd.DataFrame, pd.DataFrame]:
    """Train ``params:method`` in the closed loop.

    Returns:
        A writer of the model's folder and its history; a writer of the folder of all rounds; the manifest of the last
        round's training set, relative to that folder; the allocation table.
    """
    from dg_project.core.cache import publish_folder
    from dg_project.experiments.closed_loop.loop import run_closed_loop
    from dg_project.experiments.training_data import TrainingData
    from dg_project.pipelines.painting import open_painter
    from dg_project.pipelines.paths import locate, read_parameters

    settings = read_parameters(parameters)
    outcome = run_closed_loop(settings.method, settings, TrainingData(source, locate(settings.data.root)),
                              open_painter(settings), locate(settings.workspace))
    return (publish_folder(outcome.trained.folder), outcome.trained.history, publish_folder(outcome.rounds),
            outcome.pseudo, outcome.allocation)


def draw_allocation(allocation: pd.DataFrame) -> figure.Figure:
    """Draw how hard each pseudo domain was after each round, and how the images were divided."""
    from dg_project.figures.allocation_chart import allocation_chart

    return allocation_chart(allocation)
