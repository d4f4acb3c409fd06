"""Random boxes with manifests and predictions, for tests of evaluation and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dg_project.data.manifest import NO_MASKS
from dg_project.evaluation.detection import BoxScorer
from dg_project.evaluation.intervals import Bootstrap, bootstrap
from dg_project.evaluation.scorer import score_predictions

CLASSES = ["bus", "bike", "car", "motor", "person", "rider", "truck"]
WEATHERS = ["daytime_clear", "night_clear", "dusk_rainy", "night_rainy", "daytime_foggy"]


def score_detections(predictions: pd.DataFrame, manifest: pd.DataFrame, classes: list[str],
                     metrics: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Score boxes, which are in the manifest, so no folder is opened."""
    return score_predictions(BoxScorer(), predictions, manifest, classes, Path(), metrics)


def bootstrap_boxes(predictions: dict[str, pd.DataFrame], manifest: pd.DataFrame, classes: list[str],
                    **options: Any) -> Bootstrap:
    """Bootstrap the scores of boxes."""
    return bootstrap(BoxScorer(), predictions, manifest, classes, Path(), **options)


def random_boxes(generator: np.random.Generator, n: int, size: int = 60) -> np.ndarray:
    corner = generator.integers(0, size - 20, (n, 2)).astype(float)
    return np.concatenate([corner, corner + generator.integers(6, 20, (n, 2))], axis=1)


def random_case(seed: int, n_images: int = 3, n_classes: int = 2, domains: tuple[str, ...] = ("daytime_clear",),
                noise: float = 2.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (manifest, predictions): moved, missed, doubled and invented boxes, crowded enough to test matching."""
    generator = np.random.default_rng(seed)
    truth, found = [], []
    for domain in domains:
        for i in range(n_images):
            boxes = random_boxes(generator, generator.integers(0, 6))
            if len(boxes) > 2:  # two boxes that overlap by more than half, where VOC and COCO differ
                boxes[1] = boxes[0] + generator.integers(0, 4, 4)
            labels = generator.integers(1, n_classes + 1, len(boxes))
            truth.append({"image_id": f"{i:03d}", "domain": domain, "split": "test",
                          "role": "source" if domain == "daytime_clear" else "target", "image": f"{domain}/{i:03d}.png",
                          "width": 96, "height": 96, "boxes": boxes.tolist(), "labels": labels.tolist(),
                          "difficult": (generator.random(len(boxes)) < 0.25).tolist(), "sha256": "", **NO_MASKS})
            pick = generator.integers(0, max(len(boxes), 1), 0 if not len(boxes) else generator.integers(0, 8))
            moved = boxes[pick] + generator.normal(0, noise, (len(pick), 4))
            moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
            extra = random_boxes(generator, generator.integers(0, 3))
            all_boxes = np.concatenate([moved, extra])
            all_labels = np.concatenate([labels[pick], generator.integers(1, n_classes + 1, len(extra))]).astype(int)
            found.append({"domain": domain, "image_id": f"{i:03d}", "boxes": all_boxes.tolist(),
                          "labels": all_labels.tolist(), "scores": generator.random(len(all_boxes)).tolist()})
    return pd.DataFrame(truth), pd.DataFrame(found)


def records(values: dict[str, dict[int, dict[str, float]]]) -> pd.DataFrame:
    """Return records from method -> seed -> domain -> value."""
    rows = []
    for method, seeds in values.items():
        for seed, domains in seeds.items():
            unseen = float(np.mean([v for d, v in domains.items() if d != "daytime_clear"]))
            for domain, value in {**domains, "unseen_mean": unseen}.items():
                rows.append({"method": method, "task": "detection", "source": "daytime_clear", "domain": domain,
                             "role": "source" if domain == "daytime_clear" else "target", "seed": seed,
                             "selection": "source_val", "metric": "mAP@50", "value": value, "n_images": 80,
                             "seconds_per_step": 0.6, "kedro_version_id": "v", "images_generated": 640,
                             "ldm_seconds": 90.0, "peak_memory_mb": 900.0})
    return pd.DataFrame(rows)
