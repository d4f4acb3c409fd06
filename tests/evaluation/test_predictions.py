"""Predictions over a manifest, with a model that is a plain function."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation.helpers import random_case
from PIL import Image

from dg_project.core.errors import DataError
from dg_project.evaluation.detection import BoxScorer
from dg_project.evaluation.predictions import by_method, predict_manifest, scored_rows


def bright(images):
    """One box per image; its score is the mean grey value. Black images get none."""
    assert all(image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1 for image in images)
    assert not torch.is_grad_enabled()
    return [{"boxes": torch.tensor([[0.0, 0, 4, 4]] * (image.mean() > 0)).reshape(-1, 4),
             "labels": torch.ones(int(image.mean() > 0), dtype=torch.int64),
             "scores": image.mean()[None] if image.mean() > 0 else torch.zeros(0)} for image in images]


def test_rows_keep_order_for_any_batch_size(tmp_path):
    manifest, _ = random_case(0, n_images=5)
    for k, row in enumerate(manifest.itertuples()):
        path = tmp_path / row.image
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 12, 3), 50 * k, np.uint8)).save(path)
    one, many = (predict_manifest(bright, BoxScorer(), manifest, tmp_path, batch_size=n) for n in (1, 4))
    pd.testing.assert_frame_equal(one, many)
    assert one["image_id"].tolist() == manifest["image_id"].tolist()
    assert one["scores"].iloc[0] == []
    assert one["scores"].iloc[3] == [pytest.approx(150 / 255)]


def test_scored_rows_take_the_first_of_each_domain():
    manifest, _ = random_case(0, n_images=5, domains=("daytime_clear", "fog", "night"))
    source, target = manifest[manifest["role"] == "source"], manifest[manifest["role"] == "target"]
    rows = scored_rows(source, target, 2)
    assert rows["domain"].tolist() == ["daytime_clear"] * 2 + ["fog"] * 2 + ["night"] * 2
    assert len(scored_rows(source, target)) == 15
    with pytest.raises(DataError, match="'night' has no test image"):
        scored_rows(source, target.assign(split=target["domain"].map({"fog": "test", "night": "val"})))


def test_by_method_keeps_order():
    _, predictions = random_case(0)
    both = pd.concat([predictions.assign(method="erm"), predictions.assign(method="drsf")])
    assert list(by_method(both)) == ["erm", "drsf"]
    assert "method" not in by_method(both)["erm"]
