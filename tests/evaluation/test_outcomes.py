"""Hits, misses and confusions agree with the scores, and with pictures that are counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import random_case, score_detections

from dg_project.data.manifest import NO_MASKS
from dg_project.evaluation.detection import RECALL_LEVELS, BoxScorer
from dg_project.evaluation.outcomes import outcome
from dg_project.evaluation.predictions import rows_by_image

SCORER = BoxScorer()


def one_image(truth: list, found: list) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of one image from (x, label, difficult) and (x, label, score); all boxes are 10 x 10."""
    manifest = pd.DataFrame([{"image_id": "a", "domain": "d", "width": 200, "height": 20,
                              "boxes": [[x, 0, x + 10, 10] for x, *_ in truth], "labels": [k for _, k, _ in truth],
                              "difficult": [hard for *_, hard in truth], **NO_MASKS}])
    predictions = pd.DataFrame([{"domain": "d", "image_id": "a", "boxes": [[x, 0, x + 10, 10] for x, *_ in found],
                                 "labels": [k for _, k, _ in found], "scores": [score for *_, score in found]}])
    return manifest, predictions


def result_of(truth: list, found: list, score: float = 0.5):
    manifest, predictions = one_image(truth, found)
    (pair,) = rows_by_image(manifest, predictions)
    return outcome(SCORER.pair(*pair, Path()), score)


def test_every_kind_of_detection() -> None:
    result = result_of(truth=[(0, 1, False), (20, 1, False), (40, 2, False), (60, 1, True), (80, -1, False),
                              (100, 2, False)],
                       found=[(1, 1, 0.9), (2, 1, 0.8), (40, 1, 0.7), (60, 1, 0.6), (80, 2, 0.95), (150, 2, 0.55),
                              (20, 1, 0.4)])
    assert str(result) == "1 of 4 found, 3 false"
    assert result.kept.tolist() == [4, 0, 1, 2, 3, 5]
    assert result.hit.tolist() == [False, True, False, False, False, False]
    assert result.ignored.tolist() == [True, False, False, False, True, False]
    assert result.taken.tolist() == [-1, 0, -1, 2, -1, -1]


def test_a_detection_of_the_right_class_comes_before_a_better_placed_one_of_another() -> None:
    result = result_of(truth=[(0, 1, False)], found=[(0, 2, 0.9), (2, 1, 0.6)])
    assert str(result) == "1 of 1 found, 1 false"
    assert result.taken.tolist() == [-1, 0]


def test_confusion_counts_background_and_other_classes() -> None:
    manifest, predictions = one_image([(0, 1, False), (20, 1, False), (40, 2, False), (60, 2, True)],
                                      [(0, 1, 0.9), (40, 1, 0.8), (100, 2, 0.7), (60, 2, 0.6), (20, 1, 0.1)])
    errors = SCORER.errors(predictions, manifest, 2, Path(), 0.5)
    assert errors.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_counts_agree_with_the_matches_of_the_score(seed: int) -> None:
    manifest, predictions = random_case(seed, n_images=30)
    counted = SCORER.compare(predictions, manifest, 2, Path(), "mAP@50")
    confusion = SCORER.errors(predictions, manifest, 2, Path(), 0.0).confusion
    for k, matches in enumerate(counted.classes):
        assert confusion[k, k] == matches.true[0].sum()
        assert confusion[k].sum() == matches.positives.sum()
        assert confusion[:, k].sum() == (~matches.ignored[0]).sum()


def test_area_below_the_curve_is_the_mean_average_precision() -> None:
    manifest, predictions = random_case(1, n_images=200)
    precision = SCORER.errors(predictions, manifest, 2, Path(), 0.5).precision
    score = score_detections(predictions, manifest, ["a", "b"], ("mAP@50",)).set_index("class").loc["all", "value"]
    assert np.trapezoid(precision, RECALL_LEVELS) == pytest.approx(score, abs=0.01)
    assert (np.diff(precision) <= 1e-12).all()


def test_nothing_found_and_nothing_labelled() -> None:
    manifest, predictions = one_image([], [])
    errors = SCORER.errors(predictions, manifest, 2, Path(), 0.5)
    assert not errors.confusion.any()
    assert np.isnan(errors.precision).all()
