"""Train and score one cell per method, seed and held-out domain; the workspace keeps every cell."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from dg_project.config import LeaveOneOutParams, Settings
from dg_project.core.cache import publish_folders, work_through
from dg_project.core.errors import DataError
from dg_project.core.files import FolderWriter
from dg_project.data.card import data_card, format_card
from dg_project.data.manifest import NOTES, manifest_fingerprint, noted
from dg_project.pipelines.figure import Figure
from dg_project.pipelines.pseudo_images import pseudo_images

if TYPE_CHECKING:
    from dg_project.experiments.leave_one_out import Fold

logger = logging.getLogger(__name__)
METRIC = "accuracy"


def read_domains(settings: Settings) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read every domain below ``data.root``; log and return the counts."""
    from dg_project.experiments.leave_one_out import chosen_methods, read_folders

    chosen_methods(settings.leave_one_out, settings.method)  # fail on a wrong name before reading images
    images, classes, skipped = read_folders(Path(settings.data.root), settings.leave_one_out, settings)
    notes = (noted([images], note) for note in NOTES)
    card = data_card(images, classes, skipped, settings.data.ignore_classes, *notes)
    for message in card["warnings"]:
        logger.warning("%s", message)
    logger.info("data card\n%s", format_card(card))
    return images, card


def draw_contact_sheet(images: pd.DataFrame, card: dict[str, Any], root: str) -> Figure:
    """Draw a few images of every domain with their classes."""
    from dg_project.figures.contact_sheet import contact_sheet

    return contact_sheet(images, Path(root), card["classes"], (), "classification")


def train_folds(images: pd.DataFrame, card: dict[str, Any], settings: Settings) -> FolderWriter:
    """Train every cell; return a writer of ``<method>/seed<n>/<held-out domain>/`` folders."""
    return publish_folders(work_through("cell", {name: partial(_train, settings, *cell)
                                                 for name, cell in _cells(images, card, settings)}))


def _train(settings: Settings, method: str, one: Settings, fold: Fold, wait: bool) -> Path:
    """Train a method on a fold with its own settings ``one``."""
    from dg_project.experiments.fold_generation import trains_on_pseudo_images
    from dg_project.experiments.leave_one_out import train_fold

    # The seed of the run, so that an image which trains in several trials is made once.
    pseudo = pseudo_images(fold.source, one, settings.seed) if trains_on_pseudo_images(method, one) else None
    return train_fold(method, one, fold, Path(settings.data.root), Path(settings.workspace), pseudo, wait)


def score_folds(models: Path, images: pd.DataFrame, card: dict[str, Any], settings: Settings,
                run_id: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score every cell.

    Returns:
        The records of all cells; those of the held-out domains with their means, also as numbers for MLflow.
    """
    from dg_project.experiments.leave_one_out import score_fold, with_means
    from dg_project.experiments.scoring import nested

    places = Path(settings.data.root), Path(settings.workspace), run_id
    cells = work_through("scores", {name: partial(score_fold, models / name, *cell, *places)
                                    for name, cell in _cells(images, card, settings)})
    everything = pd.concat(cells.values(), ignore_index=True)
    records = with_means(everything)
    numbers: dict[str, Any] = {}
    for (method, seed), rows in records.groupby(["method", "seed"], sort=False):
        numbers.setdefault(str(method), {})[f"seed{seed}"] = nested(rows)
    return everything, records, numbers


def make_table(records: pd.DataFrame, params: LeaveOneOutParams) -> pd.DataFrame:
    """Summarise the records over seeds, one row per method, and log the table."""
    from dg_project.evaluation.records import classes_note
    from dg_project.evaluation.table import benchmark_table, to_markdown

    table = benchmark_table(records, metric=METRIC, confidence=params.confidence)
    logger.info("each domain left out in turn\n%s",
                to_markdown(table, metric=METRIC, confidence=params.confidence, note=classes_note(records)))
    return table.reset_index()


def draw_chart(records: pd.DataFrame, params: LeaveOneOutParams) -> Figure:
    """Draw the mean of each method in each held-out domain, and the gains over ERM."""
    from dg_project.evaluation.table import benchmark_table
    from dg_project.figures.benchmark_chart import records_chart

    table = benchmark_table(records, metric=METRIC, confidence=params.confidence)
    return records_chart(table, records, metric=METRIC, confidence=params.confidence)


def _cells(images: pd.DataFrame, card: dict[str, Any],
           settings: Settings) -> Iterator[tuple[str, tuple[str, Settings, Fold]]]:
    """Yield name, and method, settings and fold, of every cell; seed by seed, so that a stopped run has whole seeds."""
    from dg_project.experiments.leave_one_out import chosen_methods, fold_settings, folds, for_method

    if card["fingerprint"] != manifest_fingerprint(images):
        raise DataError("the newest domains_card does not count the images of the newest domains_manifest: run "
                        "`kedro run --pipeline=leave_one_out` from its first node")
    params = settings.leave_one_out
    for seed in params.seeds:
        for fold in folds(images, params.train_share, seed):
            one = fold_settings(settings, fold, card["classes"], seed)
            for method in chosen_methods(params, settings.method):
                cell = method, *for_method(method, one, fold, settings.seed)
                yield f"{method}/seed{seed}/{fold.held_out}", cell
