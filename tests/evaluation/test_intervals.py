"""The bootstrap against scoring physically repeated images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import WEATHERS, bootstrap_boxes, random_case, score_detections

from dg_project.evaluation import intervals as module


def repeated(table: pd.DataFrame, ids: list[str], counts: np.ndarray) -> pd.DataFrame:
    parts = [table[table["image_id"] == i].assign(image_id=f"{i}-{k}") for i, n in zip(ids, counts, strict=True)
             for k in range(int(n))]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("metric", ["mAP@50", "mAP"])
def test_weights_equal_repeated_images(metric):
    manifest, predictions = random_case(7, n_images=9)
    ids = sorted(manifest["image_id"])
    weights = module._weights(ids, 12, 3)
    result = bootstrap_boxes({"m": predictions}, manifest, ["a", "b"], metrics=(metric,), resamples=12, seed=3)
    for drawn, counts in zip(result.scores["m", "daytime_clear", metric].resampled, weights[1:], strict=True):
        tables = (repeated(table, ids, counts) for table in (predictions, manifest))
        scores = score_detections(*tables, ["a", "b"], (metric,))
        assert drawn == pytest.approx(scores["value"].iloc[-1], abs=1e-12)


def test_bootstrap_value_and_unseen_mean():
    manifest, predictions = random_case(2, n_images=10, domains=tuple(WEATHERS))
    table = bootstrap_boxes({"m": predictions}, manifest, ["a", "b"], resamples=50).intervals().set_index("domain")
    scores = score_detections(predictions, manifest, ["a", "b"], ("mAP@50",))
    expected = scores[scores["class"] == "all"].set_index("domain")["value"]
    np.testing.assert_allclose(table.loc[WEATHERS, "value"], expected[WEATHERS])
    assert table.loc["unseen_mean", "value"] == pytest.approx(expected[WEATHERS[1:]].mean())
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert table.loc["unseen_mean", "n_images"] == 40


def test_same_scenes_share_resamples():
    manifest, good = random_case(4, n_images=20, domains=tuple(WEATHERS), noise=1)
    worse = good.assign(scores=[[1 - s for s in scores] for scores in good["scores"]])
    result = bootstrap_boxes({"erm": worse, "same": worse, "drsf": good}, manifest, ["a", "b"], resamples=100)
    gains = result.differences("erm").set_index(["method", "domain"])
    assert (gains.loc["same", ["difference", "low", "high"]] == 0).all(axis=None)
    good_value, worse_value = (result.scores[name, "unseen_mean", "mAP@50"].value for name in ("drsf", "erm"))
    assert gains.loc[("drsf", "unseen_mean"), "difference"] == pytest.approx(good_value - worse_value)
    assert np.array_equal(module._weights(["a", "b", "c"], 5, 0), module._weights(["a", "b", "c"], 5, 0))
    assert not np.array_equal(module._weights(["a", "b", "c"], 5, 0), module._weights(["a", "b", "d"], 5, 0))


def test_interval_has_nominal_coverage():
    """AP of one class where each image holds one box found with p = .6 and no false alarm is the share found."""
    hits = 0
    for trial in range(60):
        generator = np.random.default_rng(trial)
        found = generator.random(40) < 0.6
        ids = [f"{trial}-{i}" for i in range(40)]
        manifest = pd.DataFrame({"image_id": ids, "domain": "d", "role": "target", "boxes": [[[0, 0, 9, 9]]] * 40,
                                 "labels": [[1]] * 40, "difficult": [[False]] * 40})
        predictions = pd.DataFrame({"image_id": ids, "domain": "d", "boxes": [[[0, 0, 9, 9]] * int(f) for f in found],
                                    "labels": [[1] * int(f) for f in found], "scores": [[0.9] * int(f) for f in found]})
        row = bootstrap_boxes({"m": predictions}, manifest, ["a"], resamples=100).intervals().iloc[0]
        hits += row["low"] <= 0.6 <= row["high"]
    assert 50 <= hits <= 60
