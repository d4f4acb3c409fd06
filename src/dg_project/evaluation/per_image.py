"""Scores of single images and of single classes: where a model fails, and where a method gains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dg_project.evaluation.scorer import Scorer, check_predictions, check_same_images


def per_image_scores(scorer: Scorer, predictions: pd.DataFrame, manifest: pd.DataFrame, classes: list[str],
                     root: Path) -> pd.DataFrame:
    """Return the task's main metric on each image by itself.

    Args:
        scorer: of the task.
        predictions: one row per image, of one model.
        manifest: the very images that were predicted, with their labels.
        classes: class names.
        root: folder that label images are relative to.

    Returns:
        ``domain, image_id, value``, a row per image; NaN where an image has no label that counts.
    """
    check_same_images(check_predictions(scorer, predictions), manifest)
    tables = []
    for domain, truth in manifest.groupby("domain", sort=False):
        compared = scorer.compare(predictions[predictions["domain"] == domain], truth, len(classes), root,
                                  scorer.metrics[0])
        # The k-th "resample" of the scenes is the k-th image alone.
        values = compared.values(np.eye(len(truth)))[1]
        tables.append(pd.DataFrame({"domain": domain, "image_id": sorted(map(str, truth["image_id"])),
                                    "value": values}))
    return pd.concat(tables, ignore_index=True)


def class_gains(class_scores: pd.DataFrame, baseline: str, method: str, metric: str) -> pd.DataFrame:
    """Return method minus baseline for each class and domain.

    Args:
        class_scores: ``method, domain, metric, class, value, n_labels`` of both.
        baseline: name of one.
        method: name of the other.
        metric: the one to compare.

    Returns:
        ``domain, class, gain, n_labels`` in the order of the scores; NaN where a domain lacks a class.
    """
    rows = class_scores[class_scores["metric"] == metric]
    keys = ["domain", "class"]
    mine, theirs = (rows[rows["method"] == name].set_index(keys) for name in (method, baseline))
    gain = mine["value"] - theirs["value"].reindex(mine.index)
    return mine[["n_labels"]].assign(gain=gain).reset_index()[[*keys, "gain", "n_labels"]]
