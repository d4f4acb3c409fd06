"""Measure the pseudo labels of DiGA on target masks, after both models are trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import ReportingParams, Settings
from dg_project.pipelines.figure import Figure

logger = logging.getLogger(__name__)


def measure_labels(model: Path, baseline_model: Path, results: pd.DataFrame, adapt: pd.DataFrame, target: pd.DataFrame,
                   settings: Settings, diga: Any) -> pd.DataFrame:
    """Measure pseudo labels by both rules at the start of a round, at its end, and at the start of a further round.

    Returns:
        ``labels_of`` and ``features_of`` (methods), and the columns of ``label_quality.quality_table``.
    """
    from dg_project.experiments.origin import check_results
    from dg_project.methods.diga.label_quality import label_quality

    check_results(results, model, baseline_model)
    params = diga.self_training
    warm_up, adapted = zip(dict.fromkeys(results["method"]), (baseline_model, model), strict=True)
    unlabelled, labelled = (_some(images, settings.reporting) for images in (adapt, target))
    tables = [label_quality(labels[1], features[1], unlabelled, labelled, Path(settings.data.root), params,
                            settings.training.device, settings.evaluation.batch_size
                            ).assign(labels_of=labels[0], features_of=features[0])
              for labels, features in ((warm_up, warm_up), (warm_up, adapted), (adapted, adapted))]
    quality = pd.concat(tables, ignore_index=True)[["labels_of", "features_of", "rule", "coverage", "precision"]]
    logger.info("pseudo labels\n%s", quality[quality["rule"] != "curve"].round(3).to_string(index=False))
    return quality


def draw_label_precision(quality: pd.DataFrame, target: pd.DataFrame, reporting: ReportingParams) -> Figure:
    """Draw precision over coverage for both rules."""
    from dg_project.figures.label_precision import label_precision
    from dg_project.methods.diga.label_quality import THRESHOLD

    images = _some(target, reporting)
    shown = f"{len(images)} test images of {images['domain'].nunique()} target domains"
    return label_precision(quality, THRESHOLD, shown)


def _some(images: pd.DataFrame, reporting: ReportingParams) -> pd.DataFrame:
    return images.groupby("domain", sort=False).head(reporting.feature_images)
