"""Which quality of pseudo images helps which method? The table of the answers."""

from __future__ import annotations

import pandas as pd

from dg_project.config import Task
from dg_project.evaluation.formatting import gain_and_interval, number, percent
from dg_project.evaluation.scorers import main_metric
from dg_project.evaluation.table import benchmark_table


def regime_table(records: pd.DataFrame, qualities: pd.DataFrame, task: Task, confidence: float) -> pd.DataFrame:
    """Return one row per quality and method, the least recognised quality first.

    Args:
        records: records of all cells with a column ``quality``.
        qualities: ``quality, oracle, kept, recognised, distance``.
        task: task name.
        confidence: confidence of the intervals.

    Returns:
        The columns of ``qualities``; ``method, metric, seeds``; ``unseen``, the mean over the unseen domains, with
        ``unseen_low, unseen_high``; ``gain, gain_low, gain_high`` over ERM, and ``over_naive, over_naive_low,
        over_naive_high``.
    """
    metric, rows = main_metric(task), []
    for quality in qualities.sort_values("recognised", kind="stable").to_dict("records"):
        mine = records[records["quality"] == quality["quality"]]
        table = benchmark_table(mine, metric=metric, confidence=confidence, also=("naive",))
        for method, row in table.iterrows():
            rows.append(quality | {
                "method": method, "metric": metric, "seeds": row["n_seeds"],
                **{f"unseen{end}": row[f"unseen_mean{end}"] for end in ("", "_low", "_high")},
                **{f"gain{end}": row[f"gain{end}"] for end in ("", "_low", "_high")},
                **{f"over_naive{end}": row.get(f"gain_over_naive{end}", float("nan"))
                   for end in ("", "_low", "_high")}})
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame) -> str:
    """Return the table as Markdown, in percent; oracle qualities are marked."""
    lines = ["| quality | kept | recognised | distance | method | unseen mean | gain over erm | gain over naive |",
             "|---|---|---|---|---|---|---|---|"]
    for row in table.to_dict("records"):
        name = f"{row['quality']} (oracle)" if row["oracle"] else row["quality"]
        gains = [gain_and_interval(row[of], row[f"{of}_low"], row[f"{of}_high"]) if row[of] == row[of] else "–"
                 for of in ("gain", "over_naive")]
        lines.append(f"| {name} | {percent(row['kept'])} | {percent(row['recognised'])} | "
                     f"{number(row['distance'], '.3f')} | {row['method']} | {percent(row['unseen'])} | "
                     f"{' | '.join(gains)} |")
    return "\n".join(lines)
