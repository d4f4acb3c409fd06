"""Rows of a grid beside naive mixing of the same pseudo domains: what a method adds, however many there are."""

from __future__ import annotations

import json
import math

import pandas as pd

from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.evaluation.table import paired_gain

ALL = "all"
COLUMNS = ["domains", "method", "source", "unseen", "reference_source", "reference_unseen", "gain", "gain_low",
           "gain_high", "gain_p_t"]


def gains_at_equal_domains(records: pd.DataFrame, *, metric: str, reference: str = "naive",
                           confidence: float = 0.95) -> pd.DataFrame:
    """Compare rows that see the same pseudo domains, where a grid has rows of several choices of them.

    Args:
        records: of a grid, with ``overrides``.
        metric: the one to compare.
        reference: method that the gains are taken against, paired by seed.
        confidence: of the interval.

    Returns:
        ``COLUMNS``: one line per row of another method that changes nothing but its domains, the fewest domains first;
        means over seeds of the row and of the reference on the source and on the unseen mean, and the gain on the
        latter. No line where the reference has but one choice of domains.
    """
    if "overrides" not in records:  # of a benchmark before rows could choose
        return pd.DataFrame(columns=COLUMNS)
    rows = records[records["metric"] == metric]
    plain = {row: choice for row, text in rows.groupby("method", sort=False)["overrides"].first().items()
             if (choice := _choice(str(row), str(text))) is not None}
    seen = {row for row, own in rows.groupby("method")["images_generated"] if own.max() > 0}
    references = {domains: row for row, (method, domains) in plain.items() if method == reference}
    lines = []
    # The fewest first, and all of them last.
    for row, (method, domains) in sorted(plain.items(), key=lambda item: len(item[1][1]) or math.inf):
        if method == reference or row not in seen or domains not in references or len(references) < 2:
            continue
        mine, theirs = (rows[rows["method"] == name] for name in (row, references[domains]))
        paired = paired_gain(mine, theirs, confidence)
        lines.append([", ".join(domains) or ALL, method, *_means(mine), *_means(theirs), paired.difference, paired.low,
                      paired.high, paired.p_t])
    return pd.DataFrame(lines, columns=COLUMNS)


def _choice(row: str, overrides: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the method and the pseudo domains of a row, none for all; None where it changes anything else."""
    changes = json.loads(overrides)
    if set(changes) - {"method", "domains"}:
        return None
    return changes.get("method", row), tuple(changes.get("domains", ()))


def _means(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the means over seeds on the source and on the unseen mean."""
    return (float(rows.loc[rows["role"] == "source", "value"].mean()),
            float(rows.loc[rows["domain"] == UNSEEN_MEAN, "value"].mean()))
