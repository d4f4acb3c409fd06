"""Tables and figures of a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import DataParams, Settings
from dg_project.config.grids import BASELINE
from dg_project.core.files import FolderWriter
from dg_project.data.manifest import select
from dg_project.data.origin import check_classes, check_pairs
from dg_project.pipelines.figure import Figure


def make_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return scores in percent: one row per method and metric, its setting (DG or UDA), one column per domain."""
    order = list(dict.fromkeys(results["domain"]))
    wide = results.pivot_table(index=["method", "setting", "metric"], columns="domain", values="value", sort=False)
    return (100 * wide[order]).round(1).reset_index()


def estimate_intervals(predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame,
                       settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bootstrap over test scenes; return the scores with intervals, and the gains.

    These are the gains of every method over the baseline, and of the last one over each other.
    """
    from dg_project.evaluation.intervals import bootstrap
    from dg_project.evaluation.predictions import by_method
    from dg_project.evaluation.scorers import SCORERS

    models = by_method(predictions)
    images = scored(predictions, source, target, settings)
    drawn = bootstrap(SCORERS[settings.task], models, images, settings.classes, Path(settings.data.root))
    baseline, *others = sorted(models, key=lambda name: name != BASELINE)
    gains = [drawn.differences(name) for name in (baseline, *others[:-1])]
    last = [table[table["method"] == others[-1]] for table in gains[1:]]
    return drawn.intervals(), pd.concat([gains[0], *last], ignore_index=True)


def scored(predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the scored rows of these predictions: the test images, or the objects in them."""
    from dg_project.evaluation.predictions import scored_rows
    from dg_project.experiments.origin import check_predictions
    from dg_project.experiments.training_data import task_rows

    images = scored_rows(source, target, settings.evaluation.max_images)
    check_predictions(predictions, images)
    check_classes(images, settings.classes, settings.task, "this run (the classes of its task)")
    return task_rows(images, settings.task, settings.head.model_dump())


def draw_domains(intervals: pd.DataFrame, gains: pd.DataFrame, data: DataParams) -> Figure:
    """Draw the score of each method in each domain."""
    from dg_project.figures.domain_chart import domain_chart

    return domain_chart(intervals, gains, metric=str(intervals["metric"].iloc[0]), source=data.source)


def first_is_baseline(table: pd.DataFrame) -> list[str]:
    """Return the methods of a table: the baseline first, the method last; one name if ERM is its own baseline."""
    return [str(name) for name in dict.fromkeys(table["method"])]


def draw_losses(results: pd.DataFrame, *trained: Any) -> Figure:
    """Draw validation and losses of each model by step.

    Args:
        results: gives the names of the models.
        trained: the history of each model, then the folder of each, in the same order.
    """
    from dg_project.experiments.origin import check_history
    from dg_project.figures.loss_curves import loss_curves
    from dg_project.methods.model_folder import read_card

    histories, models = trained[:len(trained) // 2], trained[len(trained) // 2:]
    names = first_is_baseline(results)
    steps = results.groupby("method")["max_steps"].first()
    for name, history in zip(names, histories, strict=False):
        check_history(history, name, int(steps[name]))
    chosen = [read_card(model)[1]["step"] for model in models]
    return loss_curves(dict(zip(names, histories, strict=False)), dict(zip(names, chosen, strict=False)))


def draw_panels(predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame,
                settings: Settings) -> Figure:
    """Draw the same scenes in every domain with the predictions of each model."""
    from dg_project.evaluation.predictions import by_method
    from dg_project.figures.prediction_panels import prediction_panels

    reporting = settings.reporting
    return prediction_panels(by_method(predictions), scored(predictions, source, target, settings),
                             Path(settings.data.root), settings.classes, scenes=reporting.panel_scenes,
                             score_threshold=reporting.score_threshold)


def draw_scenes(predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame,
                settings: Settings) -> FolderWriter:
    """Draw one scene of every domain with the predictions of each model, as images to compare."""
    from dg_project.evaluation.predictions import by_method
    from dg_project.figures.scene_views import scene_views, write_views

    views = scene_views(by_method(predictions), scored(predictions, source, target, settings), Path(settings.data.root),
                        settings.classes, score_threshold=settings.reporting.score_threshold)
    return partial(write_views, views)


def measure_errors(predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame,
                   settings: Settings) -> dict[str, Any]:
    """Count what each model takes for what in each domain, from the stored predictions.

    Returns:
        ``classes``, ``score`` (of the detections in the confusion matrices), and ``domains``: domain -> method ->
        ``confusion`` and ``precision`` of ``evaluation.scorer.Errors``, as lists.
    """
    from dg_project.evaluation.predictions import by_method
    from dg_project.evaluation.scorers import SCORERS

    images, models = scored(predictions, source, target, settings), by_method(predictions)
    scorer, score = SCORERS[settings.task], settings.reporting.score_threshold
    domains: dict[str, Any] = {}
    for domain, truth in images.groupby("domain", sort=False):
        domains[str(domain)] = {
            name: scorer.errors(found[found["domain"] == domain], truth, len(settings.classes),
                                Path(settings.data.root), score).as_lists()
            for name, found in models.items()}
    return {"classes": settings.classes, "score": score, "domains": domains}


def draw_pseudo_domains(source: pd.DataFrame, root: str, pseudo: pd.DataFrame, pseudo_images: Path) -> Figure:
    """Draw source images next to their pseudo images; dropped ones are framed."""
    from dg_project.figures.pseudo_sheet import pseudo_sheet

    check_pairs(pseudo, source)
    return pseudo_sheet(select(source, split="train"), Path(root), pseudo, pseudo_images)


def draw_allocation(allocation: pd.DataFrame) -> Figure:
    """Draw the difficulty of each pseudo domain by round, and its share of the images."""
    from dg_project.figures.allocation_chart import allocation_chart

    return allocation_chart(allocation)
