"""Measure domain shift in feature space: pooled features, 2D embedding, MMD and proxy A-distance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dg_project.core.errors import DataError
from dg_project.data.dataset import ManifestDataset, chunks

Extract = Callable[[list[Tensor]], Tensor]
"""Images (3, H, W) in [0, 1] -> one feature map (N, C, h, w) or vector (N, C) per image."""
Array = NDArray[np.float64]


def pooled_features(extract: Extract, manifest: pd.DataFrame, root: Path, *, batch_size: int = 4,
                    device: str | torch.device = "cpu") -> Array:
    """Return (N, C) features: the mean over positions of ``extract`` for each image of the manifest."""
    dataset, pooled = ManifestDataset(manifest, root, cache=False), []
    with torch.inference_mode():
        for chunk in chunks(dataset, batch_size, device, "features"):
            features = extract(chunk.images)
            pooled.append(features.flatten(2).mean(2) if features.ndim > 2 else features)
    return torch.cat(pooled).double().cpu().numpy()


def embed(features: Array, method: Literal["pca", "tsne"] = "tsne", seed: int = 0) -> Array:
    """Return (N, 2) coordinates of standardised features (N, C): PCA, or t-SNE after PCA to at most 30 dimensions."""
    scaled = StandardScaler().fit_transform(features)
    if method == "pca":
        return np.asarray(PCA(2, random_state=seed).fit_transform(scaled))
    reduced = PCA(min(30, *scaled.shape), random_state=seed).fit_transform(scaled)
    perplexity = min(30.0, max(2.0, (len(features) - 1) / 4))
    return np.asarray(TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced), float)


def mmd2(x: Array, y: Array, bandwidth: float) -> float:
    r"""Return the unbiased squared maximum mean discrepancy; its mean is 0 for equal distributions.

    ``mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)`` with
    ``k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))``.

    Args:
        x: (n, C), n >= 2.
        y: (m, C), m >= 2.
        bandwidth: > 0.
    """
    def kernel(a: Array, b: Array) -> Array:
        return np.exp(-pairwise_distances(a, b, "sqeuclidean") / (2 * bandwidth**2))

    def off_diagonal(k: Array) -> float:
        return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))

    return off_diagonal(kernel(x, x)) + off_diagonal(kernel(y, y)) - 2 * float(kernel(x, y).mean())


def proxy_a_distance(x: Array, y: Array, seed: int = 0) -> float:
    """Return ``2 (1 - 2 e)``, with e the cross-validated error of a linear classifier between x and y.

    0 means inseparable, 2 always separable. PCA to 8 dimensions first, because features outnumber images.

    Args:
        x: (n, C), n >= 2.
        y: (m, C), m >= 2.
        seed: random seed of the folds.
    """
    data, labels = np.concatenate([x, y]), np.repeat([0, 1], [len(x), len(y)])
    folds = min(5, len(x), len(y))
    train = len(data) - int(np.ceil(len(data) / folds))
    model = make_pipeline(StandardScaler(), PCA(min(8, data.shape[1], train), random_state=seed), LogisticRegression())
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_score(model, data, labels, cv=splits, scoring="balanced_accuracy")
    return float(np.clip(2 * (2 * scores.mean() - 1), 0, 2))


def domain_shift(features: Array, domains: list[str], source: str, seed: int = 0) -> pd.DataFrame:
    """Return the distance of each domain from the source.

    Args:
        features: (N, C) pooled features.
        domains: name of each image's domain, N.
        source: domain to compare with.
        seed: random seed of the folds.

    Returns:
        One row per other domain: ``domain, mmd2, proxy_a_distance, n_images``. The bandwidth of
        MMD is the median distance between all images, the same for all rows, so rows are comparable.

    Raises:
        DataError: the source is missing, or a domain has fewer than two images.
    """
    names = np.asarray(domains)
    counts = {str(name): int((names == name).sum()) for name in dict.fromkeys(domains)}
    if source not in counts or min(counts.values()) < 2:
        raise DataError(f"feature shift: needs at least two images of the source '{source}' and of each other domain, "
                        f"found {counts}; raise reporting.feature_images")
    scaled = StandardScaler().fit_transform(features)
    distances = pairwise_distances(scaled)
    bandwidth = float(np.median(distances[np.triu_indices(len(scaled), 1)])) or 1.0
    reference = scaled[names == source]
    rows = [(name, mmd2(reference, scaled[names == name], bandwidth),
             proxy_a_distance(reference, scaled[names == name], seed), count)
            for name, count in counts.items() if name != source]
    return pd.DataFrame(rows, columns=["domain", "mmd2", "proxy_a_distance", "n_images"])
