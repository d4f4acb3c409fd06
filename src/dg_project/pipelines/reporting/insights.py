"""Figures of the models: gates and channels, feature shift, gains by class, hardest images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dg_project.config import ReportingParams, Settings
from dg_project.data.manifest import select
from dg_project.data.origin import check_pairs
from dg_project.pipelines.figure import Figure
from dg_project.pipelines.reporting.nodes import first_is_baseline, scored

_MOST_VERSIONS = 4
"""Maximum number of pseudo domains, and of targets, in the gate figure."""


def draw_feature_shift(model: Path, baseline: Path, results: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame,
                       root: str, pseudo: pd.DataFrame, pseudo_images: Path, reporting: ReportingParams,
                       device: str) -> Figure:
    """Draw source, pseudo and target images in the feature spaces of baseline and method."""
    from dg_project.evaluation.features import domain_shift, embed
    from dg_project.experiments.origin import check_results
    from dg_project.experiments.scoring import features, rows_of
    from dg_project.figures.feature_shift import feature_shift

    check_results(results, model, baseline)
    check_pairs(pseudo, source)

    def first(rows: pd.DataFrame) -> pd.DataFrame:
        return rows_of(model, rows).groupby("domain", sort=False).head(reporting.feature_images)

    seen = first(pd.concat([select(source, split="test"), select(target, split="test")], ignore_index=True))
    made = first(pseudo[pseudo["kept"]])
    domains, roles = ([*seen[column], *made[column]] for column in ("domain", "role"))
    points, shifts = {}, []
    names = first_is_baseline(results)
    for name, folder in {names[0]: baseline, names[-1]: model}.items():
        found = np.concatenate([features(folder, seen, Path(root), device),
                                features(folder, made, pseudo_images, device)])
        points[name] = embed(found)
        shifts.append(domain_shift(found, domains, seen["domain"].iloc[0]).assign(model=name))
    return feature_shift(points, domains, roles, pd.concat(shifts, ignore_index=True))


def draw_gates(model: Path, source: pd.DataFrame, target: pd.DataFrame, root: str, pseudo: pd.DataFrame,
               pseudo_images: Path, device: str) -> Figure:
    """Draw the channels of one stage for all versions of a training scene and of a test scene."""
    from dg_project.figures.gate_maps import gate_maps
    from dg_project.figures.predictions import open_image, row_dicts
    from dg_project.methods.drsf.inspection import stage_maps

    check_pairs(pseudo, source)
    made = pseudo[pseudo["kept"]]
    scene = made.groupby("source_image_id", sort=False)["domain"].nunique().idxmax()
    trained = select(source, split="train")
    test = select(source, split="test").iloc[:1]
    same = target[target["image_id"] == test["image_id"].iloc[0]]
    others = same if len(same) else target.groupby("domain", sort=False).head(1)
    parts = [(trained[trained["image_id"] == scene], Path(root)),
             (made[made["source_image_id"] == scene].drop_duplicates("domain").head(_MOST_VERSIONS), pseudo_images),
             (test, Path(root)), (others.head(_MOST_VERSIONS), Path(root))]
    rows = [(row, folder) for table, folder in parts for row in row_dicts(table)]
    maps = stage_maps(model, [folder / row["image"] for row, folder in rows], device)
    names = [f"{row['domain']}\n({'test' if row['split'] == 'test' else 'train'})" if row["role"] == "source"
             else f"{row['domain']}\n({row['role']})" for row, _ in rows]
    return gate_maps([open_image(folder, row) for row, folder in rows], names, maps.features, maps.entropy, maps.gate,
                     stage=maps.stage)


def draw_class_gains(class_scores: pd.DataFrame) -> Figure:
    """Draw the gains over the baseline by class and domain."""
    from dg_project.evaluation.scorer import class_gains
    from dg_project.figures.class_gains import class_gains_chart

    names, metric = first_is_baseline(class_scores), str(class_scores["metric"].iloc[0])
    gains = class_gains(class_scores, names[0], names[-1], metric)
    return class_gains_chart(gains, baseline=names[0], method=names[-1], metric=metric)


def draw_hardest(predictions: pd.DataFrame, source: pd.DataFrame, target: pd.DataFrame,
                 settings: Settings) -> Figure:
    """Draw the images with the lowest score of the method in each domain."""
    from dg_project.evaluation.predictions import by_method
    from dg_project.evaluation.scorer import per_image_scores
    from dg_project.evaluation.scorers import SCORERS, main_metric
    from dg_project.figures.hard_samples import hardest_images

    images, root = scored(predictions, source, target, settings), Path(settings.data.root)
    models = by_method(predictions)
    scores = {name: per_image_scores(SCORERS[settings.task], found, images, settings.classes, root)
              for name, found in models.items()}
    return hardest_images(scores, models[list(models)[-1]], images, root, settings.classes,
                          metric=main_metric(settings.task), score_threshold=settings.reporting.score_threshold)
