"""Measure how hard each pseudo domain is for the current model, on source scenes that it never trains on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dg_project.evaluation.predictions import predict_manifest
from dg_project.evaluation.scorer import ALL, score_predictions
from dg_project.evaluation.scorers import SCORERS, main_metric
from dg_project.experiments.training_data import task_rows
from dg_project.methods import Method
from dg_project.methods.model_folder import ModelSpec


def measure(method: Method, spec: ModelSpec, probes: pd.DataFrame, probe_root: Path, label_root: Path, *,
            min_visibility: float, batch_size: int, device: torch.device) -> pd.DataFrame:
    """Return the difficulty of each pseudo domain: 1 minus the task's main metric on its probes.

    Probes that the label-fidelity gate dropped do not count: a lost object is the generator's failure, not the
    model's, and steering by it would request more such images.

    Args:
        method: the model, in any mode.
        spec: model spec.
        probes: sampled pseudo images of held-out source scenes.
        probe_root: folder that their paths are relative to.
        label_root: folder that their masks are relative to.
        min_visibility: bound for objects, see ``task_rows``.
        batch_size: images per prediction.
        device: torch device of the model.

    Returns:
        ``domain, difficulty, n_images``, one row per domain; NaN where the gate dropped every probe.
    """
    names = [str(name) for name in dict.fromkeys(probes["domain"])]
    rows = task_rows(probes[probes["kept"].astype(bool)].reset_index(drop=True), spec.task, spec.head, min_visibility)
    rows = rows[rows["kept"].astype(bool)].reset_index(drop=True)
    scorer = SCORERS[spec.task]
    found = predict_manifest(method.eval().predict, scorer, rows, probe_root, batch_size=batch_size, device=device,
                             name="difficulty")
    scores = score_predictions(scorer, found, rows, spec.classes, label_root, (main_metric(spec.task),))
    totals = scores[scores["class"] == ALL].set_index("domain")
    return pd.DataFrame({
        "domain": names,
        "difficulty": [1 - float(totals["value"].get(name, np.nan)) for name in names],
        "n_images": [int(totals["n_images"].get(name, 0)) for name in names],
    })
