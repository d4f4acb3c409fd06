"""Feature shift: formulas, and detection of a shift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluation.helpers import random_case
from PIL import Image

from dg_project.core.errors import DataError
from dg_project.evaluation.features import domain_shift, embed, mmd2, pooled_features, proxy_a_distance


def test_mmd_equals_the_double_sum():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(5, 3)), generator.normal(1, 1, (4, 3))

    def k(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2 * 1.5**2))

    within_x = np.mean([k(x[i], x[j]) for i in range(5) for j in range(5) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
    between = np.mean([k(a, b) for a in x for b in y])
    assert mmd2(x, y, 1.5) == pytest.approx(within_x + within_y - 2 * between)


def test_shift_grows_with_distance():
    generator = np.random.default_rng(1)
    features = np.concatenate([generator.normal(shift, 1, (40, 50)) for shift in (0, 0, 0.4, 2)])
    table = domain_shift(features, ["source"] * 40 + ["same"] * 40 + ["near"] * 40 + ["far"] * 40, "source")
    table = table.set_index("domain")
    assert abs(table.loc["same", "mmd2"]) < 0.01 < table.loc["near", "mmd2"] < table.loc["far", "mmd2"]
    assert table.loc["same", "proxy_a_distance"] < 0.8
    assert table.loc["far", "proxy_a_distance"] == 2
    assert 0 <= proxy_a_distance(features[:40], features[80:120]) <= 2


def test_embed_separates_clusters():
    generator = np.random.default_rng(2)
    features = np.concatenate([generator.normal(0, 1, (20, 30)), generator.normal(5, 1, (20, 30))])
    for method in ("pca", "tsne"):
        points = embed(features, method)
        assert points.shape == (40, 2)
        gap = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
        assert gap > 2 * points[:20].std(0).max()
    assert np.array_equal(embed(features, "tsne", 1), embed(features, "tsne", 1))


def test_domain_with_one_image_raises():
    with pytest.raises(DataError, match=r"reporting\.feature_images"):
        domain_shift(np.zeros((3, 4)), ["source", "source", "fog"], "source")


def test_pooled_features_average_over_positions(tmp_path):
    manifest, _ = random_case(0, n_images=3)
    for k, row in enumerate(manifest.itertuples()):
        (tmp_path / row.image).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 100 + k, np.uint8)).save(tmp_path / row.image)
    pooled = pooled_features(lambda images: torch.stack(images), manifest, tmp_path, batch_size=2)
    np.testing.assert_allclose(pooled, np.repeat([[100], [101], [102]], 3, axis=1) / 255, atol=1e-6)
