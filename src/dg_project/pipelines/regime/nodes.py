"""Train, score and measure with pseudo images of several qualities; the workspace keeps every image and cell."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import Settings
from dg_project.config.grids import BASELINE
from dg_project.core.cache import publish_folders
from dg_project.core.files import FolderWriter
from dg_project.pipelines.figure import Figure
from dg_project.pipelines.pseudo_images import pseudo_images

logger = logging.getLogger(__name__)


def train_qualities(source: pd.DataFrame, settings: Settings) -> FolderWriter:
    """Train every method with every seed on the pseudo images of every quality.

    Returns:
        A writer of ``<quality>/<method>/seed<n>/`` folders; methods without pseudo images are trained once.
    """
    from dg_project.experiments.grid import train_cells
    from dg_project.experiments.training_data import TrainingData

    folders: dict[str, Path] = {}
    for name, one in _qualities(settings):
        logger.info("quality '%s'", name)
        pseudo, images = pseudo_images(source, one, settings.seed)
        data = TrainingData(source, Path(one.data.root), pseudo, images)
        trained = train_cells(one, settings.regime.grid, data, Path(settings.workspace))
        folders |= {f"{name}/{cell}": folder for cell, folder in trained.items()}
    return publish_folders(folders)


def score_qualities(models: Path, source: pd.DataFrame, target: pd.DataFrame, settings: Settings,
                    run_id: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score every cell in every domain; return the records with a column ``quality``, also as numbers for MLflow."""
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments.grid import score_cells
    from dg_project.experiments.scoring import nested

    images = scored_rows(source, target, settings.evaluation.max_images)
    parts, numbers = [], {}
    for name, one in _qualities(settings):
        records = score_cells(one, settings.regime.grid, models / name, images, Path(settings.data.root),
                              Path(settings.workspace), run_id)
        parts.append(records.assign(quality=name))
        numbers[name] = {f"{method}/seed{seed}": nested(rows)
                         for (method, seed), rows in records.groupby(["method", "seed"], sort=False)}
    return pd.concat(parts, ignore_index=True), numbers


def measure_qualities(models: Path, source: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Measure the pseudo images of every quality with the ERM of the first seed; return one row per quality."""
    from dg_project.experiments.regime import measured

    rows = []
    for name, one in _qualities(settings):
        pseudo, images = pseudo_images(source, one, settings.seed)
        model = models / name / BASELINE / f"seed{settings.regime.seeds[0]}"
        oracle = settings.regime.qualities[name].oracle
        rows.append({"quality": name, "oracle": oracle} | measured(model, source, pseudo, images, one))
    return pd.DataFrame(rows)


def make_table(records: pd.DataFrame, qualities: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Summarise the unseen mean over seeds, one row per quality and method, and log the table."""
    from dg_project.evaluation.regime import regime_table, to_markdown

    table = regime_table(records, qualities, settings.task, settings.regime.confidence)
    logger.info("pseudo images of several qualities\n%s", to_markdown(table))
    return table


def draw_chart(table: pd.DataFrame) -> Figure:
    """Draw the gain of each method over ERM against the measured quality."""
    from dg_project.figures.regime import regime_chart

    return regime_chart(table)


def _qualities(settings: Settings) -> Iterator[tuple[str, Settings]]:
    for name in settings.regime.qualities:
        yield name, settings.with_quality(name)
