"""mIoU against scikit-learn's confusion matrix, and its rules at the edges."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

from dg_project.core.errors import DataError
from dg_project.data.manifest import NO_MASKS
from dg_project.evaluation.scorer import score_predictions
from dg_project.evaluation.segmentation import MIoUScorer

IGNORE = 255


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def table(root: Path, labels: list[tuple[str, np.ndarray]]) -> pd.DataFrame:
    """Write the masks and return the manifest; images of one domain are numbered."""
    rows = []
    for number, (domain, values) in enumerate(labels):
        (root / f"{number}.png").write_bytes(png(values))
        rows.append({"domain": domain, "image_id": f"{number:05d}", "image": f"{number}.jpg", "role": "target",
                     "split": "test", "width": values.shape[1], "height": values.shape[0], **NO_MASKS,
                     "mask": f"{number}.png", "mask_ids": "train_ids"})
    return pd.DataFrame(rows)


def found(manifest: pd.DataFrame, masks: list[np.ndarray]) -> pd.DataFrame:
    packed = [MIoUScorer().pack({"mask": torch.from_numpy(mask)}) for mask in masks]
    return manifest[["domain", "image_id"]].assign(mask=[row["mask"] for row in packed])


def test_miou_equals_confusion_matrix(tmp_path: Path) -> None:
    generator, classes, labels, predicted, expected = np.random.default_rng(0), 4, [], [], []
    for case in range(1000):
        present = generator.permutation(classes)[: generator.integers(1, classes + 1)]  # some classes are not there
        truth = generator.choice(present, (2, 6, 5)).astype(np.uint8)
        guess = np.where(generator.random(truth.shape) < 0.6, truth, generator.integers(0, classes, truth.shape))
        truth[generator.random(truth.shape) < 0.2] = IGNORE
        labels += [(f"case {case}", image) for image in truth]
        predicted += list(guess.astype(np.uint8))
        seen = truth != IGNORE
        matrix = confusion_matrix(truth[seen], guess[seen], labels=range(classes))
        right, rows = matrix.diagonal(), matrix.sum(1)
        union = rows + matrix.sum(0) - right
        iou = np.where(rows > 0, right / np.maximum(union, 1), np.nan)
        expected += [*iou, np.nanmean(iou)]
    manifest = table(tmp_path, labels)
    scores = score_predictions(MIoUScorer(), found(manifest, predicted), manifest, ["a", "b", "c", "d"], tmp_path)
    np.testing.assert_allclose(scores["value"], expected, atol=1e-12)
    assert scores.loc[scores["class"] == "all", "value"].between(0.2, 0.9).sum() > 900


def test_pixels_are_pooled_over_images(tmp_path: Path) -> None:
    small, large = np.zeros((1, 1), np.uint8), np.zeros((3, 3), np.uint8)
    large[0] = IGNORE
    manifest = table(tmp_path, [("d", small), ("d", large)])
    scores = score_predictions(MIoUScorer(), found(manifest, [small + 1, large * 0]), manifest, ["road", "sky"],
                               tmp_path).set_index("class")
    assert scores.loc["road", "value"] == pytest.approx(6 / 7)  # not the mean of 0 and 1
    assert np.isnan(scores.loc["sky", "value"])
    assert scores["n_labels"].tolist() == [7, 0, 7]


def test_train_id_beyond_classes_raises(tmp_path: Path) -> None:
    mask = np.full((2, 2), 7, np.uint8)
    manifest = table(tmp_path, [("d", mask)])
    with pytest.raises(DataError, match=r"'0\.jpg' has the train id 7, but segmentation\.classes has 2 classes"):
        score_predictions(MIoUScorer(), found(manifest, [mask * 0]), manifest, ["road", "sky"], tmp_path)
