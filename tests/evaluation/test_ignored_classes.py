"""Scores with ignored classes: a detection on such a box is neither right nor wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import bootstrap_boxes, random_case, score_detections
from pycocotools import mask as coco_mask

from dg_project.evaluation.detection import METRICS, BoxScorer
from dg_project.evaluation.matching import ClassMatches, Matchable, match_images
from dg_project.evaluation.scorer import per_image_scores

CAR, VAN = [0, 0, 10, 10], [30, 30, 50, 50]
PART, EDGE = [32, 32, 40, 40], [42, 30, 62, 50]
CLASSES = ["car", "bus"]


def scored(truth: list[tuple[list[int], int]], found: list[tuple[list[int], int, float]],
           metric: str) -> pd.DataFrame:
    manifest = pd.DataFrame([{"image_id": "a", "domain": "d", "role": "target", "boxes": [box for box, _ in truth],
                              "labels": [label for _, label in truth],
                              "difficult": [label < 0 for _, label in truth]}])
    boxes, labels, scores = zip(*found, strict=True)
    predictions = pd.DataFrame([{"image_id": "a", "domain": "d", "boxes": boxes, "labels": labels, "scores": scores}])
    return score_detections(predictions, manifest, CLASSES, (metric,)).set_index("class")


@pytest.mark.parametrize("metric", list(METRICS))
def test_detections_on_ignored_class_count_neither_way(metric: str) -> None:
    """Any number of detections of any class, also of a part; without the ignored box they are false."""
    found = [(VAN, 1, 0.9), (PART, 1, 0.8), (VAN, 1, 0.7), (CAR, 1, 0.5)]
    ignoring = scored([(CAR, 1), (VAN, -1)], found, metric)
    assert ignoring.loc[["car", "all"], "value"].tolist() == [1.0, 1.0]
    assert ignoring.loc[["car", "bus", "all"], "n_labels"].tolist() == [1, 0, 1]
    assert np.isnan(ignoring.loc["bus", "value"])
    assert scored([(CAR, 1)], found, metric).loc["car", "value"] == pytest.approx(0.25, abs=0.01)
    assert scored([(CAR, 2), (VAN, -2)], [(VAN, 2, 0.9), (CAR, 2, 0.5)], metric).loc["bus", "value"] == 1.0


@pytest.mark.parametrize("metric", list(METRICS))
def test_detection_next_to_ignored_class_is_false(metric: str) -> None:
    """A detection that lies on the box by 40 % of its own area."""
    assert scored([(CAR, 1), (VAN, -1)], [(EDGE, 1, 0.9), (CAR, 1, 0.5)], metric).loc["car", "value"] == \
        pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("metric", list(METRICS))
def test_object_on_ignored_class_is_found_or_missed(metric: str) -> None:
    truth = [(CAR, 1), (PART, 1), (VAN, -1)]
    assert scored(truth, [(PART, 1, 0.9), (CAR, 1, 0.5)], metric).loc["car", "value"] == 1.0
    missed = scored(truth, [(VAN, 1, 0.9), (CAR, 1, 0.5)], metric)
    assert missed.loc["car", "value"] == pytest.approx(0.5, abs=0.01)
    assert missed.loc["car", "n_labels"] == 2


@pytest.mark.parametrize("rule", ["voc", "coco"])
def test_ignored_class_never_lowers_a_score(rule: str) -> None:
    """On random cases: true detections and labels stay, and exactly the false ones on the ignored boxes go."""
    manifest, predictions = random_case(0, n_images=60)

    def matched(regions: bool, masks: bool = False) -> list[ClassMatches]:
        images = []
        for truth, found in zip(manifest.itertuples(), predictions.itertuples(), strict=True):
            boxes = [*truth.boxes, *([[15, 15, 55, 55]] if regions else [])]
            labels, hard = [*truth.labels, -1][:len(boxes)], [*truth.difficult, True][:len(boxes)]
            shapes = rles if masks else xywh
            images.append(Matchable(shapes(boxes), np.array(labels), np.array(hard, bool), shapes(found.boxes),
                                    np.array(found.labels), np.array(found.scores)))
        return match_images(images, 2, rule)

    for before, after in zip(matched(False), matched(True), strict=True):
        assert np.array_equal(before.positives, after.positives)
        assert np.array_equal(before.true, after.true)
        assert (after.ignored >= before.ignored).all()
        assert (after.ignored & ~before.ignored).any()
    for part in matched(True, masks=True):
        assert part.ignored.any()


def xywh(boxes: Any) -> np.ndarray:
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def rles(boxes: Any) -> np.ndarray:
    masks = np.zeros((96, 96, len(boxes)), np.uint8, order="F")
    for k, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, int)):
        masks[y0:y1, x0:x1, k] = 1
    shapes = np.empty(len(boxes), object)
    shapes[:] = coco_mask.encode(masks) if len(boxes) else []
    return shapes


def test_image_of_ignored_class_alone_has_no_score() -> None:
    manifest, predictions = random_case(0, n_images=2)
    manifest["labels"] = [[-1] * len(labels) for labels in manifest["labels"]]
    manifest["difficult"] = [[True] * len(labels) for labels in manifest["labels"]]
    assert per_image_scores(BoxScorer(), predictions, manifest, CLASSES, None)["value"].isna().all()
    assert np.isnan(bootstrap_boxes({"erm": predictions}, manifest, CLASSES).intervals()["value"]).all()
