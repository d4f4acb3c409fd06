"""Define and check the results table: one row per method, domain, seed and metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dg_project.core.errors import DataError
from dg_project.evaluation.scorer import ALL, classes_scored

UNSEEN_MEAN = "unseen_mean"
"""``domain`` of the rows with the mean over the target domains."""
AND = "+"
"""Separator between the names of several source domains."""

RECORD_COLUMNS: dict[str, str] = {
    "method": "name of the method",
    "task": "name of the task",
    "source": "labelled training domain, or several joined by +",
    "domain": "scored domain, or unseen_mean",
    "role": "source | target",
    "seed": "training seed",
    "selection": "rule that selected the checkpoint",
    "metric": "mAP@50, mAP | mask_mAP@50, mask_mAP | mIoU | accuracy, balanced_accuracy",
    "value": "0 to 1",
    "n_images": "images scored",
    "seconds_per_step": "training time per step",
    "kedro_version_id": "run that wrote the row",
}
COST_COLUMNS: dict[str, str] = {
    "images_generated": "pseudo images generated for this method",
    "ldm_seconds": "time to generate these images, and of the diffusion model for everything else the method needs "
                   "it for",
    "peak_memory_mb": "peak memory of the training, MB",
    "max_steps": "training steps",
    "images_per_step": "source and pseudo images per step",
    "inference_ms": "milliseconds to predict one image, NaN if not measured",
    "inference_parameters": "parameters of the model at inference",
}
ORIGIN_COLUMNS: dict[str, str] = {
    "setting": "DG: no target image was opened before the test | UDA: trained on unlabelled target images | oracle: "
               "trained on labelled target images",
    "overrides": "JSON of the changes of a grid row: method, pseudo domains, parameters",
    "classes_scored": "classes with labels in the domain, such as 4 of 5 (no bicycle); '' for unseen_mean",
}
COLUMNS = (*RECORD_COLUMNS, *COST_COLUMNS, *ORIGIN_COLUMNS)


@dataclass(frozen=True)
class RunFacts:
    """Columns of a record that are constant within a run."""

    method: str
    source: str
    seed: int
    selection: str
    seconds_per_step: float
    kedro_version_id: str
    task: str = "detection"
    images_generated: int = 0
    ldm_seconds: float = float("nan")
    peak_memory_mb: float = float("nan")
    max_steps: int = 0
    images_per_step: int = 0
    inference_ms: float = float("nan")
    inference_parameters: int = 0
    setting: Literal["DG", "UDA"] = "DG"
    overrides: str = "{}"


def result_records(scores: pd.DataFrame, facts: RunFacts) -> pd.DataFrame:
    """Return the records of one trained model.

    Args:
        scores: from ``score_predictions``; must include the source domain.
        facts: facts of the run.

    Returns:
        The columns ``COLUMNS``; per metric the source (or each of several), each target, then ``unseen_mean``. The
        unseen mean is NaN if a target has no score, never a mean over fewer domains.

    Raises:
        DataError: the source or all targets are missing.
    """
    totals = scores[scores["class"] == ALL]
    domains = list(dict.fromkeys(totals["domain"]))
    sources = [facts.source] if facts.source in domains else facts.source.split(AND)
    if not set(sources) < set(domains):
        raise DataError(f"results: scored {domains or 'nothing'}, but a record needs the source '{facts.source}' and "
                        "at least one target; check data.source and data.targets")
    rows = []
    for metric, part in totals.groupby("metric", sort=False):
        is_source = part["domain"].isin(sources)
        targets = part[~is_source]
        unseen = {"domain": UNSEEN_MEAN, "metric": metric, "value": targets["value"].mean(skipna=False),
                  "n_images": targets["n_images"].sum()}
        rows += [*part[is_source].to_dict("records"), *targets.to_dict("records"), unseen]
    records = pd.DataFrame(rows)[["domain", "metric", "value", "n_images"]]
    records["classes_scored"] = records["domain"].map(classes_scored(scores)).fillna("")
    records["role"] = np.where(records["domain"].isin(sources), "source", "target")
    constant = {key: getattr(facts, key) for key in COLUMNS if hasattr(facts, key)}
    return records.assign(**constant)[list(COLUMNS)]


def check_records(records: pd.DataFrame, name: str = "results") -> pd.DataFrame:
    """Return the records unchanged if they have ``RECORD_COLUMNS`` and no duplicate rows.

    Raises:
        DataError: a column is missing, or a method was scored twice with one seed.
    """
    if missing := [c for c in RECORD_COLUMNS if c not in records.columns]:
        raise DataError(f"{name}: column(s) {missing} are missing; write it again with "
                        "`kedro run --pipeline=evaluation`")
    key = ["method", "task", "source", "domain", "seed", "selection", "metric"]
    if (twice := records.duplicated(key)).any():
        row = records.loc[twice].iloc[0]
        raise DataError(f"{name}: method '{row['method']}' has several records with seed {row['seed']} on "
                        f"'{row['domain']}'; keep the records of one run per method and seed")
    return records


def classes_note(records: pd.DataFrame) -> str:
    """Return which domains lack which classes, as a sentence; "" if none does, or the records do not say it."""
    if "classes_scored" not in records:  # recorded before the column existed
        return ""
    known = records.groupby("domain", sort=False)["classes_scored"].first().dropna()
    partial = [f"{domain} {text}" for domain, text in known.items() if "(no " in str(text)]
    return f"A class without labels in a domain is left out of its score; classes scored: {'; '.join(partial)}." \
        if partial else ""


def with_intervals(records: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    """Return the records with ``low`` and ``high`` from ``Bootstrap.intervals()``; NaN without an interval."""
    bounds = intervals[["method", "domain", "metric", "low", "high"]]
    return records.merge(bounds, on=["method", "domain", "metric"], how="left")
