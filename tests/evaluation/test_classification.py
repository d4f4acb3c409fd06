"""Accuracy and balanced accuracy against scikit-learn's, and a class that a domain does not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from dg_project.core.errors import DataError
from dg_project.data.manifest import NO_MASKS
from dg_project.evaluation.classification import AccuracyScorer
from dg_project.evaluation.scorer import score_predictions

CLASSES = ["bus", "car", "truck"]


def truth(domains: dict[str, list[int]]) -> pd.DataFrame:
    """Manifest of object crops: 0-based classes by domain."""
    rows = [{"domain": domain, "image_id": f"{domain}_{i}", "image": f"{domain}_{i}.jpg", "role": "target",
             "split": "test", "width": 8, "height": 8, "boxes": [[0.0, 0.0, 8.0, 8.0]], "labels": [label + 1],
             "difficult": [False], **NO_MASKS} for domain, labels in domains.items() for i, label in enumerate(labels)]
    return pd.DataFrame(rows)


def found(manifest: pd.DataFrame, probabilities: np.ndarray) -> pd.DataFrame:
    packed = [AccuracyScorer().pack({"probabilities": torch.from_numpy(row)})["probabilities"] for row in probabilities]
    return manifest[["domain", "image_id"]].assign(probabilities=packed)


def scores(manifest: pd.DataFrame, probabilities: np.ndarray) -> pd.Series:
    table = score_predictions(AccuracyScorer(), found(manifest, probabilities), manifest, CLASSES, Path())
    return table.set_index(["domain", "metric", "class"])["value"]


def test_accuracies_equal_sklearn() -> None:
    generator = np.random.default_rng(0)
    domains = {f"case {case}": generator.choice(3, 20, p=[0.7, 0.2, 0.1]).tolist() for case in range(30)}
    manifest = truth(domains)
    probabilities = generator.dirichlet(np.ones(3), len(manifest))
    value = scores(manifest, probabilities)
    for number, (domain, labels) in enumerate(domains.items()):
        guess = probabilities[20 * number: 20 * number + 20].argmax(1)
        assert value[domain, "accuracy", "all"] == pytest.approx(accuracy_score(labels, guess))
        present = sorted(set(labels))
        recalls = recall_score(labels, guess, labels=present, average=None)
        assert value[domain, "balanced_accuracy", "all"] == pytest.approx(recalls.mean())
        if len(present) == len(set(labels) | set(guess)):
            assert value[domain, "balanced_accuracy", "all"] == pytest.approx(balanced_accuracy_score(labels, guess))
        for label, recall in zip(present, recalls, strict=True):
            assert value[domain, "accuracy", CLASSES[label]] == pytest.approx(recall)


def test_absent_class_is_nan() -> None:
    manifest = truth({"day": [0, 1, 1, 2], "night": [0, 1, 1, 1]})
    value = scores(manifest, np.eye(3)[[0, 1, 0, 2, 2, 1, 1, 1]])
    assert value["day", "balanced_accuracy", "all"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert np.isnan(value["night", "accuracy", "truck"])
    assert value["night", "balanced_accuracy", "all"] == pytest.approx(0.5), "mean over the two classes that are there"
    assert value["night", "accuracy", "all"] == pytest.approx(0.75)


def test_non_finite_probability_raises() -> None:
    manifest = truth({"day": [0, 1]})
    with pytest.raises(DataError, match=r"day_1.*not finite"):
        scores(manifest, np.array([[1.0, 0, 0], [np.nan, 0, 1]]))
