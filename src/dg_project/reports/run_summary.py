"""The result of a run in a few lines of text: a verdict, and a table that fits 80 columns."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dg_project.evaluation.formatting import gain_and_interval, percent
from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.figures.style import method_label, readable

DOMAIN_WIDTH, COLUMN_WIDTH = 26, 8


def verdict(gains: pd.DataFrame) -> str:
    """Return what the run found on the mean of the unseen domains.

    Args:
        gains: ``method, domain, metric, over, difference, low, high``; the last method is the one that is judged.

    Returns:
        Such as ``DRSF on unseen domains: ahead of ERM by +11.0 [+9.6, +12.5], level with naive (+0.4 [-0.5, +1.3]).``;
        an interval that holds 0 is called level. "" without gains.
    """
    rows = gains[gains["domain"] == UNSEEN_MEAN]
    if rows.empty:
        return ""
    method = rows["method"].iloc[-1]
    found = [_compared(row) for row in rows[rows["method"] == method].drop_duplicates("over").to_dict("records")]
    return f"{method_label(str(method))} on unseen domains: {', '.join(found)}."


def _compared(row: dict[Any, Any]) -> str:
    over, gain = method_label(str(row["over"])), gain_and_interval(row["difference"], row["low"], row["high"])
    if row["low"] > 0:
        return f"ahead of {over} by {gain}"
    return f"behind {over} by {gain}" if row["high"] < 0 else f"level with {over} ({gain})"


def summary_table(intervals: pd.DataFrame, gains: pd.DataFrame) -> list[str]:
    """Return lines of text: the score of each method in each domain, in percent, and the gains of the last one.

    Args:
        intervals: ``method, domain, metric, value``.
        gains: see ``verdict``; the gain over the first method is shown.
    """
    metric = str(intervals["metric"].iloc[0])
    rows = intervals[intervals["metric"] == metric]
    methods = [str(name) for name in dict.fromkeys(rows["method"])]
    value = {(row["method"], row["domain"]): row["value"] for row in rows.to_dict("records")}
    over = {row["domain"]: gain_and_interval(row["difference"], row["low"], row["high"])
            for row in gains.to_dict("records")
            if (row["method"], row["over"], row["metric"]) == (methods[-1], methods[0], metric)}
    heads = "".join(f"{method_label(name)[:COLUMN_WIDTH - 1]:>{COLUMN_WIDTH}}" for name in methods)
    last = f"  {method_label(methods[-1])} - {method_label(methods[0])} [95 %]" if over else ""
    lines = [f"{f'{metric}, percent':<{DOMAIN_WIDTH}}{heads}{last}"]
    for domain in dict.fromkeys(rows["domain"]):
        cells = "".join(f"{percent(value.get((name, domain), float('nan'))):>{COLUMN_WIDTH}}" for name in methods)
        name = readable(str(domain))[:DOMAIN_WIDTH - 1]
        lines.append(f"{name:<{DOMAIN_WIDTH}}{cells}  {over.get(domain, '')}".rstrip())
    return lines
