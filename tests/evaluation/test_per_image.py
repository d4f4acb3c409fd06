"""Scores of single images are those of the images by themselves; gains of classes are differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from evaluation.helpers import CLASSES
from figures.cases import street_manifest, street_predictions

from dg_project.evaluation.scorer import ALL, class_gains, per_image_scores, score_predictions
from dg_project.evaluation.scorers import SCORERS


def test_image_scores_equal_single_image_scores(tmp_path: Path) -> None:
    manifest = street_manifest(tmp_path, 3, {"daytime_clear": (1.0, 0.0), "night_clear": (0.25, 0.0)})
    found, scorer = street_predictions(manifest, 0.8), SCORERS["detection"]
    scores = per_image_scores(scorer, found, manifest, CLASSES, tmp_path)
    assert len(scores) == 6
    for row in scores.to_dict("records"):
        pair = [t[(t["domain"] == row["domain"]) & (t["image_id"] == row["image_id"])] for t in (found, manifest)]
        alone = score_predictions(scorer, *pair, CLASSES, tmp_path, ("mAP@50",))
        np.testing.assert_allclose(row["value"], alone.loc[alone["class"] == ALL, "value"].iloc[0])


def test_class_gains_pair_class_and_domain() -> None:
    columns = ["method", "domain", "metric", "class", "value", "n_labels"]
    scores = pd.DataFrame([("erm", "fog", "mAP@50", "car", 0.2, 5), ("erm", "fog", "mAP@50", "bus", np.nan, 0),
                           ("erm", "fog", "mAP", "car", 0.1, 5), ("drsf", "fog", "mAP@50", "bus", np.nan, 0),
                           ("drsf", "fog", "mAP@50", "car", 0.5, 5)], columns=columns)
    gains = class_gains(scores, "erm", "drsf", "mAP@50")
    assert gains["class"].tolist() == ["bus", "car"]
    np.testing.assert_allclose(gains["gain"], [np.nan, 0.3])
