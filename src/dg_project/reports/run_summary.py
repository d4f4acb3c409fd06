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


def by_domain(gains: pd.DataFrame, sources: list[str]) -> str:
    """Return in how many unseen domains the last method is ahead of the baseline, and what it costs on the source.

    Args:
        gains: see ``verdict``; the gains over the first method are told.
        sources: names of the source domains.

    Returns:
        Such as ``Against ERM: ahead in 3, level in 1 of 4 unseen domains. On daytime clear, the source: behind by -6.1
        [-9.1, -2.9].``; "" without gains.
    """
    if gains.empty:
        return ""
    method, over = gains["method"].iloc[-1], gains["over"].iloc[0]
    rows = gains[(gains["method"] == method) & (gains["over"] == over) & (gains["domain"] != UNSEEN_MEAN)]
    unseen = rows[~rows["domain"].isin(sources)]
    words = [verdict_word(low, high) for low, high in zip(unseen["low"], unseen["high"], strict=True)]
    counts = ", ".join(f"{word} in {words.count(word)}" for word in ("ahead", "level", "behind") if word in words)
    told = f"Against {method_label(str(over))}: {counts} of {len(words)} unseen domains."
    at_home = [f"On {readable(str(row['domain']))}, the source: {_alone(row)}." for row in
               rows[rows["domain"].isin(sources)].to_dict("records")]
    return " ".join([told, *at_home])


def _alone(row: dict[Any, Any]) -> str:
    word, gain = verdict_word(row["low"], row["high"]), gain_and_interval(row["difference"], row["low"], row["high"])
    return f"level ({gain})" if word == "level" else f"{word} by {gain}"


def verdict_word(low: float, high: float) -> str:
    """Return ``ahead``, ``behind``, or ``level`` for an interval that holds 0 or is not known."""
    return "ahead" if low > 0 else "behind" if high < 0 else "level"


def _compared(row: dict[Any, Any]) -> str:
    over, gain = method_label(str(row["over"])), gain_and_interval(row["difference"], row["low"], row["high"])
    return {"ahead": f"ahead of {over} by {gain}", "behind": f"behind {over} by {gain}",
            "level": f"level with {over} ({gain})"}[verdict_word(row["low"], row["high"])]


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
