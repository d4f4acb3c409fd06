"""A domain that lacks a class is scored over the others, in every task, and tables say so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation.helpers import records, score_detections
from evaluation.test_classification import found as classified
from evaluation.test_classification import truth as crops
from evaluation.test_segmentation import found as segmented
from evaluation.test_segmentation import table as masks
from pycocotools import mask as coco_mask

from dg_project.evaluation.classification import AccuracyScorer
from dg_project.evaluation.detection import MaskScorer
from dg_project.evaluation.records import COLUMNS, RunFacts, classes_note, result_records
from dg_project.evaluation.scorer import classes_scored, score_predictions
from dg_project.evaluation.segmentation import MIoUScorer
from dg_project.evaluation.table import benchmark_table, to_markdown

CLASSES = ["car", "bus", "bicycle"]
FACTS = RunFacts("erm", "sunny", 0, "source_val", 0.5, "v")
NOTE = "A class without labels in a domain is left out of its score; classes scored: rain 2 of 3 (no bicycle)."


def detections() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A car that is found and a bus that is not, in both domains; a bicycle that is found only where it is sunny."""
    car, bus, bicycle = [0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30]
    truth = [("sunny", "source", [car, bus, bicycle], [1, 2, 3]), ("rain", "target", [car, bus], [1, 2])]
    manifest = pd.DataFrame([{"domain": domain, "role": role, "image_id": "a", "image": "a.png", "width": 32,
                              "height": 32, "boxes": boxes, "labels": labels, "difficult": [False] * len(boxes)}
                             for domain, role, boxes, labels in truth])
    found = pd.DataFrame([{"domain": domain, "image_id": "a", "boxes": [car, bicycle], "labels": [1, 3],
                           "scores": [0.9, 0.8]} for domain in ("sunny", "rain")])
    return manifest, found


def test_detection_mean_over_present_classes() -> None:
    manifest, found = detections()
    scores = score_detections(found, manifest, CLASSES)
    assert classes_scored(scores) == {"sunny": "3 of 3", "rain": "2 of 3 (no bicycle)"}
    value = scores.set_index(["domain", "metric", "class"])["value"]
    assert value["sunny", "mAP@50", "all"] == pytest.approx(2 / 3)
    assert value["rain", "mAP@50", "all"] == value["rain", "mAP", "all"] == pytest.approx(1 / 2)
    assert np.isnan(value["rain", "mAP@50", "bicycle"])


def test_instance_segmentation_mean_over_present_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, found = detections()

    def drawn(boxes: list[list[int]]) -> np.ndarray:
        values = np.zeros((len(boxes), 32, 32), bool)
        for mask, (x0, y0, x1, y1) in zip(values, boxes, strict=True):
            mask[y0:y1, x0:x1] = True
        return values

    monkeypatch.setattr("dg_project.evaluation.detection.load_part",
                        lambda row, part, root: torch.from_numpy(drawn(row.boxes)))
    counts = [[coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode() for mask in drawn(boxes)]
              for boxes in found["boxes"]]
    scores = score_predictions(MaskScorer(), found.assign(masks=counts), manifest, CLASSES, Path())
    assert classes_scored(scores) == {"sunny": "3 of 3", "rain": "2 of 3 (no bicycle)"}
    value = scores.set_index(["domain", "metric", "class"])["value"]
    assert value["rain", "mask_mAP@50", "all"] == pytest.approx(1 / 2)


def test_segmentation_mean_over_present_classes(tmp_path: Path) -> None:
    sunny, rain = np.array([[0, 1, 2, 2]], np.uint8), np.array([[0, 0, 1, 255]], np.uint8)
    manifest = masks(tmp_path, [("sunny", sunny), ("rain", rain)])
    scores = score_predictions(MIoUScorer(), segmented(manifest, [sunny, np.array([[0, 0, 0, 2]], np.uint8)]),
                               manifest, CLASSES, tmp_path)
    assert classes_scored(scores) == {"sunny": "3 of 3", "rain": "2 of 3 (no bicycle)"}
    value = scores.set_index(["domain", "class"])["value"]
    assert value["rain", "all"] == pytest.approx((2 / 3 + 0) / 2)


def test_classification_mean_over_present_classes() -> None:
    manifest = crops({"sunny": [0, 1, 2], "rain": [0, 0, 0, 1]})
    right = np.eye(3)[[0, 1, 2, 0, 0, 0, 2]]
    scores = score_predictions(AccuracyScorer(), classified(manifest, right), manifest, CLASSES, Path())
    assert classes_scored(scores) == {"sunny": "3 of 3", "rain": "2 of 3 (no bicycle)"}
    value = scores.set_index(["domain", "metric", "class"])["value"]
    assert value["rain", "balanced_accuracy", "all"] == pytest.approx(1 / 2)
    assert value["rain", "accuracy", "all"] == pytest.approx(3 / 4)


def test_many_absent_classes_are_counted() -> None:
    manifest, found = detections()
    scores = score_detections(found, manifest, [*CLASSES, *(f"c{k}" for k in range(10))])
    assert classes_scored(scores)["rain"] == "2 of 13 (no bicycle, c0, c1, c2, c3 and 6 more)"


def test_records_and_tables_say_which_classes_were_scored() -> None:
    manifest, found = detections()
    rows = result_records(score_detections(found, manifest, CLASSES), FACTS)
    assert list(rows) == list(COLUMNS)
    part = rows[rows["metric"] == "mAP"].set_index("domain")["classes_scored"]
    assert part.to_dict() == {"sunny": "3 of 3", "rain": "2 of 3 (no bicycle)", "unseen_mean": ""}
    assert classes_note(rows) == NOTE
    assert NOTE in to_markdown(benchmark_table(rows), note=classes_note(rows))
    complete = result_records(score_detections(found, manifest.assign(
        boxes=[manifest["boxes"][0]] * 2, labels=[[1, 2, 3]] * 2, difficult=[[False] * 3] * 2), CLASSES), FACTS)
    assert classes_note(complete) == ""


def test_records_of_before_the_column_have_no_note(tmp_path: Path) -> None:
    assert classes_note(records({"erm": {0: {"daytime_clear": 0.7, "fog": 0.5}}})) == ""
    manifest, found = detections()
    result_records(score_detections(found, manifest, CLASSES), FACTS).to_csv(tmp_path / "r.csv", index=False)
    stored = pd.read_csv(tmp_path / "r.csv")
    assert classes_note(stored) == NOTE, "the empty text of the unseen mean is NaN in a stored table"
