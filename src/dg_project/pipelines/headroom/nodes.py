"""Train ERM with and without labelled target images, as an upper bound."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from dg_project.config import Settings
from dg_project.core.cache import publish_folders
from dg_project.core.files import FolderWriter

logger = logging.getLogger(__name__)


def ingest_oracle(target: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Read the labelled images of ``data.adapt_split`` (``adapt``) of every target, as training images.

    Raises:
        DataError: one of them is also a test image.
    """
    from dg_project.experiments.headroom import labelled_targets

    return labelled_targets(target, settings)


def train_oracles(source: pd.DataFrame, oracle: pd.DataFrame, settings: Settings) -> FolderWriter:
    """Train both rows with every seed; return a writer of ``<row>/seed<n>/`` folders."""
    from dg_project.experiments.headroom import runs

    folders: dict[str, Path] = {}
    for name, run in runs(source, oracle, settings):
        logger.info("training %s", name)
        folders[name] = run.train().folder
    return publish_folders(folders)


def score_oracles(models: Path, source: pd.DataFrame, target: pd.DataFrame, settings: Settings,
                  run_id: str) -> pd.DataFrame:
    """Score both rows in every domain; return the records."""
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments.headroom import score_rows

    return score_rows(models, scored_rows(source, target, settings.evaluation.max_images), settings, run_id)


def make_table(records: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Summarise the records over seeds, and log the table."""
    from dg_project.evaluation.scorers import main_metric
    from dg_project.evaluation.table import benchmark_table, to_markdown

    metric, confidence = main_metric(settings.task), settings.benchmark.confidence
    table = benchmark_table(records, metric=metric, confidence=confidence)
    logger.info("an oracle trains on labelled target images: an upper bound, no method\n%s",
                to_markdown(table, metric=metric, confidence=confidence))
    return table.reset_index()
