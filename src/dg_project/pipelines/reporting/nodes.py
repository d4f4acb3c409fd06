"""Tables and figures of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dg_project.config import DataParams, Settings
from dg_project.config.grids import BASELINE
from dg_project.data.manifest import select
from dg_project.data.origin import check_classes, check_pairs
from dg_project.pipelines.figure import Figure


def make_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per method and metric, with its setting (DG or UDA) and one column per domain."""
    order = list(dict.fromkeys(results["domain"]))
    wide = results.pivot_table(index=["method", "setting", "metric"], columns="domain", values="value", sort=False)
    return wide[order].reset_index()


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


def draw_losses(results: pd.DataFrame, *histories: pd.DataFrame) -> Figure:
    """Draw the losses of each model by step; ``results`` gives their names, in the order of the histories."""
    from dg_project.experiments.origin import check_history
    from dg_project.figures.loss_curves import loss_curves

    curves = dict(zip(first_is_baseline(results), histories, strict=False))
    steps = results.groupby("method")["max_steps"].first()
    for name, history in curves.items():
        check_history(history, name, int(steps[name]))
    return loss_curves(curves)


def draw_panels(predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame,
                settings: Settings) -> Figure:
    """Draw the same scenes in every domain with the predictions of each model."""
    from dg_project.evaluation.predictions import by_method
    from dg_project.figures.prediction_panels import prediction_panels

    reporting = settings.reporting
    return prediction_panels(by_method(predictions), scored(predictions, source, target, settings),
                             Path(settings.data.root), settings.classes, scenes=reporting.panel_scenes,
                             score_threshold=reporting.score_threshold)


def draw_pseudo_domains(source: pd.DataFrame, root: str, pseudo: pd.DataFrame, pseudo_images: Path) -> Figure:
    """Draw source images next to their pseudo images; dropped ones are framed."""
    from dg_project.figures.pseudo_sheet import pseudo_sheet

    check_pairs(pseudo, source)
    return pseudo_sheet(select(source, split="train"), Path(root), pseudo, pseudo_images)


def draw_allocation(allocation: pd.DataFrame) -> Figure:
    """Draw the difficulty of each pseudo domain by round, and its share of the images."""
    from dg_project.figures.allocation_chart import allocation_chart

    return allocation_chart(allocation)
