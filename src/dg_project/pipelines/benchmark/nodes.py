"""Every method with every seed: one cell each, trained and scored once and kept in the workspace."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dg_project.files import FolderWriter
from dg_project.parameters import BenchmarkParams, Task
from dg_project.pipelines.lazy import figure, pd

logger = logging.getLogger(__name__)


def train_cells(source: pd.DataFrame, pseudo_images: Path, pseudo: pd.DataFrame, adapt: pd.DataFrame,
                parameters: dict[str, Any]) -> FolderWriter:
    """Train each method with each seed on the same images, those that adapt on unlabelled ones too.

    Returns:
        A writer of ``<method>/seed<n>/`` folders.
    """
    from dg_project.experiment import TrainingData, train_method
    from dg_project.pipelines.paths import locate, read_parameters
    from dg_project.workspace import publish_folders

    settings = read_parameters(parameters)
    data = TrainingData(source, locate(settings.data.root), pseudo, pseudo_images, adapt)
    cells = [(method, seed) for seed in settings.benchmark.seeds for method in settings.benchmark.methods]
    folders = {}
    for number, (method, seed) in enumerate(cells, 1):
        logger.info("cell %d of %d: %s, seed %d", number, len(cells), method, seed)
        one = settings.model_copy(update={"seed": seed})
        folders[_name(method, seed)] = train_method(method, one, data, locate(settings.workspace)).folder
    return publish_folders(folders)


def score_cells(models: Path, source: pd.DataFrame, target: pd.DataFrame, parameters: dict[str, Any],
                run_id: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score every cell in every domain; return the records and the same numbers for MLflow."""
    import pandas

    from dg_project import experiment
    from dg_project.evaluation.predict import scored_rows
    from dg_project.pipelines.paths import locate, read_parameters

    settings = read_parameters(parameters)
    images = scored_rows(source, target, settings.evaluation.max_images)
    records: list[pd.DataFrame] = []
    numbers: dict[str, dict[str, Any]] = {}
    for seed in settings.benchmark.seeds:
        for method in settings.benchmark.methods:
            model = models / _name(method, seed)
            found = experiment.predict_once(model, images, locate(settings.data.root), settings,
                                            locate(settings.workspace))
            cell = experiment.score(model, found, images, locate(settings.data.root), run_id)[1]
            records.append(cell)
            numbers.setdefault(method, {})[f"seed{seed}"] = experiment.nested(cell)
    return pandas.concat(records, ignore_index=True), numbers


def make_table(records: pd.DataFrame, task: Task, benchmark: BenchmarkParams) -> pd.DataFrame:
    """Summarise the records over seeds, one row per method, and print the table."""
    from dg_project.evaluation.scorers import main_metric
    from dg_project.evaluation.table import benchmark_table, to_markdown

    table = benchmark_table(records, metric=main_metric(task), confidence=benchmark.confidence)
    logger.info("benchmark\n%s", to_markdown(table, metric=main_metric(task), confidence=benchmark.confidence))
    return table.reset_index()


def draw_chart(records: pd.DataFrame, task: Task, benchmark: BenchmarkParams) -> figure.Figure:
    """Draw the mean of each method in each domain with its interval, and the gains over the baseline."""
    from dg_project.evaluation.scorers import main_metric
    from dg_project.evaluation.table import benchmark_table
    from dg_project.figures.benchmark_chart import benchmark_chart

    table = benchmark_table(records, metric=main_metric(task), confidence=benchmark.confidence)
    return benchmark_chart(table, records, metric=main_metric(task), confidence=benchmark.confidence)


def _name(method: str, seed: int) -> str:
    return f"{method}/seed{seed}"
