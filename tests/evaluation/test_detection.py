"""Scores against references written from the definitions."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import WEATHERS, random_case, score_detections
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from dg_project.core.errors import DataError
from dg_project.evaluation import matching
from dg_project.evaluation.detection import METRICS
from dg_project.evaluation.scorer import per_class_table, present_mean


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def voc_ap(manifest, predictions, label):
    """The VOC development kit's rule, in plain Python."""
    truth = {r["image_id"]: [[box, hard, False] for box, mine, hard in zip(r["boxes"], r["labels"], r["difficult"],
                                                                           strict=True) if mine == label]
             for r in manifest}
    total = sum(not hard for boxes in truth.values() for _, hard, _ in boxes)
    found = sorted(((score, r["image_id"], box) for r in predictions
                    for box, mine, score in zip(r["boxes"], r["labels"], r["scores"], strict=True) if mine == label),
                   key=lambda entry: -entry[0])
    points, hits, misses = [(0.0, 0.0)], 0, 0
    for _, image, box in found:
        best = max(truth[image], key=lambda entry: iou(box, entry[0]), default=None)
        if best is not None and iou(box, best[0]) >= 0.5:
            if best[1]:
                continue
            hits, misses, best[2] = (hits, misses + 1, True) if best[2] else (hits + 1, misses, True)
        else:
            misses += 1
        points.append((hits / max(total, 1), hits / (hits + misses)))
    return sum((points[k][0] - points[k - 1][0]) * max(p for _, p in points[k:]) for k in range(1, len(points))) \
        if total else np.nan


def test_voc_equals_its_definition():
    manifest, predictions = random_case(0, domains=tuple(f"case {k}" for k in range(1000)))
    scores = score_detections(predictions, manifest, ["car", "person"], metrics=("mAP@50",))
    truth, found = manifest.to_dict("records"), predictions.to_dict("records")  # three images per case
    expected = []
    for k in range(0, 3000, 3):
        values = [voc_ap(truth[k:k + 3], found[k:k + 3], label) for label in (1, 2)]
        expected += [*values, np.nanmean(values) if not np.isnan(values).all() else np.nan]
    np.testing.assert_allclose(scores["value"], expected, atol=1e-12)
    telling = sum(0 < value < 1 for value in expected[2::3])
    assert telling > 600, "the cases are too easy to tell anything"


def test_coco_equals_pycocotools_summary(monkeypatch):
    kept = []
    original = COCOeval.evaluate
    monkeypatch.setattr(COCOeval, "evaluate", lambda self: (original(self), kept.append(self)))
    manifest, predictions = random_case(1, domains=tuple(f"case {k}" for k in range(1000)))
    scores = score_detections(predictions, manifest, ["car", "person"], metrics=("mAP",))
    expected = []
    for evaluator in kept:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.accumulate()
        precision = evaluator.eval["precision"][..., 0, 0]  # (thresholds, recalls, classes), -1 where absent
        values = [precision[:, :, k].mean() if (precision[:, :, k] > -1).all() else np.nan for k in range(2)]
        expected += [*values, np.nanmean(values) if not np.isnan(values).all() else np.nan]
    np.testing.assert_allclose(scores["value"], expected, atol=1e-12)
    assert sum(0 < value < 1 for value in expected[2::3]) > 600


@pytest.mark.parametrize("rule", ["voc", "coco"])
def test_full_masks_match_like_boxes(rule):
    manifest, predictions = random_case(0, n_images=30, noise=0)

    def rles(boxes):
        masks = np.zeros((96, 96, len(boxes)), np.uint8, order="F")
        for k, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, int)):
            masks[y0:y1, x0:x1, k] = 1
        shapes = np.empty(len(boxes), object)
        shapes[:] = coco_mask.encode(masks) if len(boxes) else []
        return shapes

    def xywh(boxes):
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)

    def matched(shapes):
        images = [matching.Matchable(shapes(truth.boxes), np.array(truth.labels), np.array(truth.difficult, bool),
                                     shapes(found.boxes), np.array(found.labels), np.array(found.scores))
                  for truth, found in zip(manifest.itertuples(), predictions.itertuples(), strict=True)]
        return matching.match_images(images, 2, rule)

    for masks, boxes in zip(matched(rles), matched(xywh), strict=True):
        assert np.array_equal(masks.true, boxes.true)
        assert np.array_equal(masks.ignored, boxes.ignored)
        assert masks.true.any()


def one_image(boxes, difficult, found, scores):
    manifest = pd.DataFrame([{"image_id": "a", "domain": "d", "role": "target", "boxes": boxes,
                              "labels": [1] * len(boxes), "difficult": difficult}])
    predictions = pd.DataFrame([{"image_id": "a", "domain": "d", "boxes": found, "labels": [1] * len(found),
                                 "scores": scores}])
    return manifest, predictions


EASY, HARD = [0, 0, 10, 10], [30, 30, 50, 50]


@pytest.mark.parametrize("metric", list(METRICS))
def test_difficult_box_counts_neither_way(metric):
    without = score_detections(*reversed(one_image([EASY, HARD], [False, True], [EASY], [0.5])), ["car"], (metric,))
    with_one = score_detections(*reversed(one_image([EASY, HARD], [False, True], [HARD, EASY], [0.9, 0.5])),
                                ["car"], (metric,))
    as_easy = score_detections(*reversed(one_image([EASY, HARD], [False, False], [EASY], [0.5])), ["car"], (metric,))
    assert without["value"].tolist() == with_one["value"].tolist() == [1.0, 1.0]
    assert with_one["n_labels"].tolist() == [1, 1]
    assert as_easy["value"].iloc[0] == pytest.approx(0.5, abs=0.01)


def test_second_detection_on_difficult_box():
    manifest, predictions = one_image([EASY, HARD], [False, True], [HARD, HARD, EASY], [0.9, 0.8, 0.5])
    values = score_detections(predictions, manifest, ["car"]).set_index(["metric", "class"])["value"]
    assert values["mAP@50", "car"] == 1.0
    assert values["mAP", "car"] == 0.5


def test_box_order_and_doubled_detection():
    manifest, predictions = one_image([EASY, HARD], [False, False], [EASY, EASY, HARD], [0.9, 0.8, 0.7])
    value = score_detections(predictions, manifest, ["car"], ("mAP@50",))["value"].iloc[0]
    assert value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_absent_class_is_nan():
    manifest, predictions = one_image([EASY], [False], [EASY], [0.9])
    scores = score_detections(predictions, manifest, ["car", "bus"])
    for _, part in scores.groupby("metric"):
        values = part.set_index("class")["value"]
        assert values["car"] == 1
        assert np.isnan(values["bus"])
        assert values["all"] == 1
    assert np.isnan(present_mean(np.array([np.nan, np.nan])))


def test_no_detection_scores_zero():
    manifest, predictions = one_image([EASY], [False], [], [])
    assert score_detections(predictions, manifest, ["car"])["value"].tolist() == [0.0] * 4


def test_parquet_round_trip(tmp_path):
    manifest, predictions = random_case(3, n_images=5, domains=tuple(WEATHERS))
    predictions.to_parquet(tmp_path / "p.parquet")
    manifest.to_parquet(tmp_path / "m.parquet")
    back = (pd.read_parquet(tmp_path / name) for name in ("p.parquet", "m.parquet"))
    again = score_detections(*back, ["a", "b"])
    pd.testing.assert_frame_equal(again, score_detections(predictions, manifest, ["a", "b"]))


def test_row_order_does_not_matter():
    manifest, predictions = random_case(5, n_images=8)
    mixed = (table.sample(frac=1, random_state=k) for k, table in enumerate((predictions, manifest)))
    shuffled = score_detections(*mixed, ["a", "b"])
    pd.testing.assert_frame_equal(shuffled, score_detections(predictions, manifest, ["a", "b"]))


def test_per_class_table_keeps_order():
    manifest, predictions = random_case(1, n_images=4, domains=tuple(WEATHERS))
    table = per_class_table(score_detections(predictions, manifest, ["person", "car"]), "mAP@50")
    assert list(table.columns) == ["person", "car", "all"]
    assert list(table.index) == WEATHERS


def test_pycocotools_stays_silent(capfd):
    manifest, predictions = random_case(1)
    score_detections(predictions, manifest, ["a", "b"])
    assert capfd.readouterr().out == ""


def test_predictions_of_other_images_raise():
    manifest, predictions = random_case(1)
    with pytest.raises(DataError, match="has no prediction"):
        score_detections(predictions.iloc[1:], manifest, ["a", "b"])
    with pytest.raises(DataError, match="not in the manifest"):
        score_detections(predictions, manifest.iloc[1:], ["a", "b"])


def test_malformed_predictions_raise():
    manifest, predictions = random_case(1)
    with pytest.raises(DataError, match="'scores'"):
        score_detections(predictions.drop(columns="scores"), manifest, ["a", "b"])
    with pytest.raises(DataError, match="is listed twice"):
        score_detections(pd.concat([predictions, predictions]), manifest, ["a", "b"])
    broken = predictions.assign(boxes=[[[np.nan] * 4]] * len(predictions), labels=[[1]] * len(predictions),
                                scores=[[0.5]] * len(predictions))
    with pytest.raises(DataError, match="not finite"):
        score_detections(broken, manifest, ["a", "b"])
    with pytest.raises(DataError, match="2 labels"):
        score_detections(broken.assign(labels=[[1, 2]] * len(predictions)), manifest, ["a", "b"])


def test_only_coco_caps_detections_per_image():
    n = matching.COCO_MAX_DETECTIONS
    clutter = [[60, 60, 70, 70]] * n
    manifest, predictions = one_image([EASY], [False], [*clutter, EASY], [*np.linspace(0.9, 0.5, n), 0.1])
    values = score_detections(predictions, manifest, ["car"]).set_index(["metric", "class"])["value"]
    assert values["mAP@50", "car"] == pytest.approx(1 / (n + 1))
    assert values["mAP", "car"] == 0
