"""The benchmark table: records of many methods and seeds -> one row per method."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from dg_project.errors import DataError, nearest
from dg_project.evaluation.records import COST_COLUMNS, UNSEEN_MEAN, check_records
from dg_project.evaluation.statistics import paired_test, t_interval

SUMMARY_COLUMNS = ["selection", "setting", "n_seeds"]
GAIN_COLUMNS = ["gain", "gain_low", "gain_high", "gain_p_t", "gain_p_wilcoxon", "gain_n"]


def benchmark_table(records: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = "erm",
                    confidence: float = 0.95) -> pd.DataFrame:
    """Summarise records over seeds.

    Args:
        records: ``RECORD_COLUMNS`` and ``COST_COLUMNS`` of many (method, seed).
        metric: the one to show.
        baseline: method that the gain on the unseen mean is taken against, paired by seed.
        confidence: of all intervals (t over seeds).

    Returns:
        One row per method (index), in order of appearance with the baseline first. Columns: ``selection``,
        ``setting``, ``n_seeds``; for each domain and ``unseen_mean`` ``<name>``, ``<name>_low``, ``<name>_high``;
        ``gain*`` over the baseline (``gain_n`` seeds in common); mean ``seconds_per_step``, ``images_generated``,
        ``peak_memory_mb``.

    Raises:
        DataError: the baseline or the metric is not among the records, or selection rules are mixed within a method.
    """
    rows = check_records(records, "benchmark records")
    rows = rows[rows["metric"] == metric]
    methods = list(dict.fromkeys(rows["method"]))
    if baseline not in methods:
        raise DataError(f"benchmark records: there is no '{metric}' of the baseline '{baseline}'."
                        f"{nearest(baseline, methods or ['(no records)'])}")
    domains = [d for d in dict.fromkeys(rows["domain"]) if d != UNSEEN_MEAN] + [UNSEEN_MEAN]
    methods.sort(key=lambda method: method != baseline)
    table = {method: _row(rows[rows["method"] == method], rows[rows["method"] == baseline], domains, confidence)
             for method in methods}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method")


def _row(mine: pd.DataFrame, theirs: pd.DataFrame, domains: list[str], confidence: float) -> dict[str, Any]:
    rules = list(dict.fromkeys(mine["selection"]))
    if len(rules) > 1:
        raise DataError(f"benchmark records: '{mine['method'].iloc[0]}' mixes the selection rules {rules}; "
                        "a table compares one rule, keep the records of one")
    setting = mine["setting"].iloc[0] if "setting" in mine else "DG"
    row: dict[str, Any] = {"selection": rules[0], "setting": setting, "n_seeds": mine["seed"].nunique()}
    for domain in domains:
        interval = t_interval(mine.loc[mine["domain"] == domain, "value"].tolist(), confidence)
        row |= {domain: interval.mean, f"{domain}_low": interval.low, f"{domain}_high": interval.high}
    own, base = (part[part["domain"] == UNSEEN_MEAN].set_index("seed")["value"] for part in (mine, theirs))
    seeds = sorted(set(own.index) & set(base.index))
    paired = paired_test(own.loc[seeds].tolist(), base.loc[seeds].tolist(), confidence)
    values = [paired.difference, paired.low, paired.high, paired.p_t, paired.p_wilcoxon, paired.n]
    if mine["method"].iloc[0] == theirs["method"].iloc[0]:
        values = [math.nan] * 5 + [0]
    row |= dict(zip(GAIN_COLUMNS, values, strict=True))
    return row | {name: mine[name].mean() if name in mine else math.nan for name in ("seconds_per_step", *COST_COLUMNS)}


def table_domains(table: pd.DataFrame) -> list[str]:
    """Return the domains of a benchmark table in order, ``unseen_mean`` last."""
    return [str(c) for c in table.columns if f"{c}_low" in table.columns and c != "gain"]


def display_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text for people: percent, mean and half-width of the interval."""
    shown = pd.DataFrame({"setting": table["setting"]}, index=table.index)
    for domain in table_domains(table):
        shown[domain.replace("_", " ")] = [_percent(r[domain], r[f"{domain}_high"]) for _, r in table.iterrows()]
    shown["gain over baseline"] = [_gain(row) for _, row in table.iterrows()]
    shown["p (t)"] = table["gain_p_t"].map(_number(".3f"))
    shown["s/step"] = table["seconds_per_step"].map(_number(".2f"))
    shown["images generated"] = table["images_generated"].map(_number(",.0f"))
    shown["peak memory, MB"] = table["peak_memory_mb"].map(_number(",.0f"))
    shown["seeds"] = table["n_seeds"].astype(str)
    return shown


def to_markdown(table: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = "erm", confidence: float = 0.95) -> str:
    """Return the benchmark table as Markdown, with the reading rule and the selection rule under it."""
    shown = display_table(table).reset_index()
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + "---|" * len(shown.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in shown.astype(str).to_numpy()]
    rules = ", ".join(dict.fromkeys(table["selection"]))
    note = (f"{metric} in percent, mean ± half-width of the {confidence:.0%} t-interval over seeds. Gain: unseen mean "
            f"minus {baseline}'s, paired by seed. Checkpoints selected by: {rules}.")
    if (table["setting"] == "UDA").any():
        note += " UDA: trained on unlabelled images of the target domains too (never test images); DG: on none."
    return "\n".join([*lines, "", note]) + "\n"


def _number(spec: str) -> Callable[[float], str]:
    return lambda value: "–" if pd.isna(value) else format(value, spec)


def _percent(mean: float, high: float) -> str:
    if pd.isna(mean):
        return "not run"
    return f"{100 * mean:.1f}" + ("" if pd.isna(high) else f" ± {100 * (high - mean):.1f}")


def _gain(row: pd.Series) -> str:
    if pd.isna(row["gain"]):
        return "–"
    bounds = "" if pd.isna(row["gain_low"]) else f" [{100 * row['gain_low']:+.1f}, {100 * row['gain_high']:+.1f}]"
    return f"{100 * row['gain']:+.1f}{bounds}"
