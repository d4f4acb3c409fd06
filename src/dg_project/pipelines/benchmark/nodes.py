"""Train and score one cell per row of a grid and seed; the workspace keeps every cell."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import GridParams, Settings, Task
from dg_project.config.paths import locate
from dg_project.core.cache import publish_folders
from dg_project.core.files import FolderWriter, weights_hash
from dg_project.core.provenance import commit, hardware, is_dirty, versions
from dg_project.pipelines.figure import Figure
from dg_project.pipelines.training.painter import open_painter

logger = logging.getLogger(__name__)

_NO_MATTER = {"workspace", "reporting", "pretrain_ldm"}
"""Parameters that do not change a record."""


def train_cells(source: pd.DataFrame, pseudo_images: Path, pseudo: pd.DataFrame, adapt: pd.DataFrame,
                grid: GridParams, settings: Settings) -> FolderWriter:
    """Train each row with each seed on the same images; UDA methods also get unlabelled ones.

    Returns:
        A writer of ``<row>/seed<n>/`` folders.
    """
    from dg_project.experiments.grid import train_cells
    from dg_project.experiments.training_data import TrainingData

    data = TrainingData(source, Path(settings.data.root), pseudo, pseudo_images, adapt=adapt)
    closed = any(row.loop == "closed" for row in grid.chosen_rows.values())
    painter = open_painter(settings) if closed else None
    return publish_folders(train_cells(settings, grid, data, Path(settings.workspace), painter))


def score_cells(models: Path, source: pd.DataFrame, target: pd.DataFrame, grid: GridParams,
                settings: Settings, run_id: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score every cell in every domain; return the records, also as numbers for MLflow."""
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments import scoring
    from dg_project.experiments.grid import score_cells

    images = scored_rows(source, target, settings.evaluation.max_images)
    records = score_cells(settings, grid, models, images, Path(settings.data.root), Path(settings.workspace),
                          run_id)
    numbers: dict[str, dict[str, Any]] = {}
    for (row, seed), cell in records.groupby(["method", "seed"], sort=False):
        numbers.setdefault(str(row), {})[f"seed{seed}"] = scoring.nested(cell)
    return records, numbers


def state_facts(records: pd.DataFrame, grid: GridParams, settings: Settings, parameters: dict[str, Any], run_id: str,
                pipeline: str) -> dict[str, Any]:
    """Return how the records were made: run, commit, hardware, versions, parameters (with paths as given)."""
    from dg_project.core.device import resolve_device

    return {"pipeline": pipeline, "run": run_id, "commit": commit(locate(".")), "dirty": is_dirty(locate(".")),
            "hardware": hardware(str(resolve_device(settings.training.device))), "versions": versions(),
            "generator": weights_hash(Path(settings.ldm.checkpoint)) if settings.synthesis.generator == "ldm" else "",
            "cells": len(records.groupby(["method", "seed"])), "confidence": grid.confidence,
            "parameters": {name: group for name, group in parameters.items() if name not in _NO_MATTER}}


def make_table(records: pd.DataFrame, task: Task, grid: GridParams) -> pd.DataFrame:
    """Summarise the records over seeds, one row per row of the grid, and log the table."""
    from dg_project.evaluation.scorers import main_metric
    from dg_project.evaluation.table import to_markdown

    table = _table(records, task, grid)
    logger.info("results\n%s", to_markdown(table, metric=main_metric(task), confidence=grid.confidence))
    return table.reset_index()


def draw_chart(records: pd.DataFrame, task: Task, grid: GridParams) -> Figure:
    """Draw the mean and interval of each row, and the gains over the baseline."""
    from dg_project.evaluation.scorers import main_metric
    from dg_project.figures.benchmark_chart import records_chart

    return records_chart(_table(records, task, grid), records, metric=main_metric(task), confidence=grid.confidence)


def _table(records: pd.DataFrame, task: Task, grid: GridParams) -> pd.DataFrame:
    from dg_project.evaluation.scorers import main_metric
    from dg_project.evaluation.table import benchmark_table

    return benchmark_table(records, metric=main_metric(task), confidence=grid.confidence, also=("naive",))
