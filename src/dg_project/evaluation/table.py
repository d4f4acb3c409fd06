"""The benchmark table: records of many methods and seeds -> one row per method."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from dg_project.core.errors import DataError, nearest
from dg_project.evaluation.intervals import Paired, paired_test, t_interval
from dg_project.evaluation.records import COST_COLUMNS, UNSEEN_MEAN, check_records

SUMMARY_COLUMNS = ["selection", "setting", "n_seeds"]
GAIN_COLUMNS = ["gain", "gain_low", "gain_high", "gain_p_t", "gain_p_wilcoxon", "gain_n"]
UDA_MARK = "†"
UDA_NOTE = (f"{UDA_MARK} UDA: trained on unlabelled images of the targets too, beside the images per step that are "
            "named, so not comparable with other rows.")


def benchmark_table(records: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = "erm",
                    confidence: float = 0.95, also: Sequence[str] = ()) -> pd.DataFrame:
    """Summarise records over seeds.

    Args:
        records: ``RECORD_COLUMNS`` and ``COST_COLUMNS`` of many (method, seed).
        metric: the one to show.
        baseline: method that the gain on the unseen mean is taken against, paired by seed.
        confidence: of all intervals (t over seeds).
        also: further methods to take gains against; those without records are passed over.

    Returns:
        One row per method (index), in order of appearance with the baseline first. Columns: ``SUMMARY_COLUMNS``; for
        each domain and ``unseen_mean`` ``<name>``, ``<name>_low``, ``<name>_high``; ``GAIN_COLUMNS`` over the baseline
        (``gain_n`` seeds in common), and the same over ``also`` with ``gain_over_<name>`` for ``gain``; means of
        ``seconds_per_step`` and of ``COST_COLUMNS``.

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
    by_method = {method: rows[rows["method"] == method] for method in methods}
    references = {"gain": baseline, **{gain_over(name): name for name in also if name in methods and name != baseline}}
    table = {}
    for method, mine in by_method.items():
        table[method] = _summary(mine, domains, confidence)
        for prefix, reference in references.items():
            table[method] |= _gains(mine, by_method[reference], prefix, confidence)
        table[method] |= {name: mine[name].mean() if name in mine else math.nan
                          for name in ("seconds_per_step", *COST_COLUMNS)}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method")


def gain_over(name: str) -> str:
    """Return the column of the gain over a method that is not the baseline."""
    return f"gain_over_{name}"


def _summary(mine: pd.DataFrame, domains: list[str], confidence: float) -> dict[str, Any]:
    """Return ``SUMMARY_COLUMNS`` and the mean of each domain with its interval."""
    rules = list(dict.fromkeys(mine["selection"]))
    if len(rules) > 1:
        raise DataError(f"benchmark records: '{mine['method'].iloc[0]}' mixes the selection rules {rules}; "
                        "a table compares one rule, keep the records of one")
    setting = mine["setting"].iloc[0] if "setting" in mine else "DG"
    row: dict[str, Any] = dict(zip(SUMMARY_COLUMNS, (rules[0], setting, mine["seed"].nunique()), strict=True))
    for domain in domains:
        interval = t_interval(mine.loc[mine["domain"] == domain, "value"].tolist(), confidence)
        row |= {domain: interval.mean, f"{domain}_low": interval.low, f"{domain}_high": interval.high}
    return row


def _gains(mine: pd.DataFrame, theirs: pd.DataFrame, prefix: str, confidence: float) -> dict[str, Any]:
    """Return ``GAIN_COLUMNS`` of one method over another, with ``prefix`` for ``gain``."""
    paired = paired_gain(mine, theirs, confidence)
    values = [paired.difference, paired.low, paired.high, paired.p_t, paired.p_wilcoxon, paired.n]
    if mine["method"].iloc[0] == theirs["method"].iloc[0]:
        values = [math.nan] * 5 + [0]
    return {name.replace("gain", prefix, 1): value for name, value in zip(GAIN_COLUMNS, values, strict=True)}


def paired_gain(mine: pd.DataFrame, theirs: pd.DataFrame, confidence: float = 0.95) -> Paired:
    """Compare the unseen means of two methods, one metric of each, over the seeds that they have in common."""
    own, base = (part[part["domain"] == UNSEEN_MEAN].set_index("seed")["value"] for part in (mine, theirs))
    seeds = sorted(set(own.index) & set(base.index))
    return paired_test(own.loc[seeds].tolist(), base.loc[seeds].tolist(), confidence)


def table_domains(table: pd.DataFrame) -> list[str]:
    """Return the domains of a benchmark table in order, ``unseen_mean`` last."""
    return [str(c) for c in table.columns if f"{c}_low" in table.columns and not str(c).startswith("gain")]


def display_scores(table: pd.DataFrame, baseline: str = "erm") -> pd.DataFrame:
    """Return the scores as text for people: percent, mean and half-width of the interval, gains with p-values."""
    shown = pd.DataFrame(index=table.index)
    for domain in table_domains(table):
        shown[domain.replace("_", " ")] = [_percent(r[domain], r[f"{domain}_high"]) for _, r in table.iterrows()]
    for prefix, name in _references(table, baseline).items():
        shown[f"gain over {name}"] = [_gain(row, prefix) for _, row in table.iterrows()]
        shown[f"p, {name}"] = table[f"{prefix}_p_t"].map(p_value)
    shown["seeds"] = table["n_seeds"].astype(str)
    shown["selected by"] = table["selection"]
    return _marked(shown, table)


def display_costs(table: pd.DataFrame, baseline: str = "erm") -> pd.DataFrame:
    """Return what each method costs as text for people; ratios are to the baseline."""
    base: Any = table.loc[baseline]
    budget = [f"{_number(',.0f')(row['max_steps'])} × {_number('.0f')(row['images_per_step'])}"
              for _, row in table.iterrows()]
    return _marked(pd.DataFrame({
        "steps × images": budget,
        "s/step": [_ratio(row, base, "seconds_per_step", ".3f") for _, row in table.iterrows()],
        "inference, ms/image": [_ratio(row, base, "inference_ms", ".1f") for _, row in table.iterrows()],
        "parameters": [_added(row, base) for _, row in table.iterrows()],
        "images generated": table["images_generated"].map(_number(",.0f")),
        "LDM, s": table["ldm_seconds"].map(_number(",.0f")),
        "peak memory, MB": table["peak_memory_mb"].map(_number(",.0f")),
    }, index=table.index), table)


def display_equal_domains(gains: pd.DataFrame, reference: str = "naive") -> pd.DataFrame:
    """Return ``gains_at_equal_domains`` as text for people, the pseudo domains as the index."""
    return pd.DataFrame({
        "method": gains["method"],
        **{f"{where}: {who}": (100 * gains[column]).map(_number(".1f"))
           for where, end in (("source", "source"), ("unseen mean", "unseen"))
           for who, column in (("method", end), (reference, f"reference_{end}"))},
        f"gain over {reference}": [_gain(row, "gain") for _, row in gains.iterrows()],
        "p": gains["gain_p_t"].map(p_value),
    }).set_index(pd.Index(gains["domains"], name="pseudo domains"))


def to_markdown(table: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = "erm", confidence: float = 0.95) -> str:
    """Return scores and costs as two Markdown tables, with the rules of reading under them."""
    rules = ", ".join(dict.fromkeys(table["selection"]))
    references = " or ".join(_references(table, baseline).values())
    notes = [f"{metric} in percent, mean ± half-width of the {confidence:.0%} t-interval over seeds. Gain: unseen mean "
             f"minus that of {references}, paired by seed, with the p-value of the paired t-test. Checkpoints selected "
             f"by: {rules}. Ratios and added parameters are against {baseline}."]
    notes += [UDA_NOTE] * bool((table["setting"] == "UDA").any())
    parts = [markdown(display_scores(table, baseline)), markdown(display_costs(table, baseline)), " ".join(notes)]
    return "\n\n".join(parts) + "\n"


def markdown(shown: pd.DataFrame) -> str:
    """Return a table of text as Markdown, its index first."""
    whole = shown.reset_index()
    lines = ["| " + " | ".join(whole.columns) + " |", "|" + "---|" * len(whole.columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in whole.astype(str).to_numpy())])


def _references(table: pd.DataFrame, baseline: str) -> dict[str, str]:
    """Return the prefix of the gain's columns -> the method that they are taken against."""
    prefixes = [str(c).removesuffix("_p_t") for c in table.columns if str(c).endswith("_p_t")]
    return {prefix: baseline if prefix == "gain" else prefix.removeprefix(gain_over("")) for prefix in prefixes}


def uda_marks(table: pd.DataFrame) -> dict[str, str]:
    """Return what stands behind the name of each row: a mark where training opened unlabelled target images."""
    return {str(name): f" {UDA_MARK}" if setting == "UDA" else "" for name, setting in table["setting"].items()}


def best_unseen(table: pd.DataFrame) -> str:
    """Return the row with the highest unseen mean, among those whose training opened no target image."""
    return _best(table[table["setting"] != "UDA"])


def best_adapted(table: pd.DataFrame) -> str | None:
    """Return the row with the highest unseen mean, among those that opened target images; None of none."""
    adapted = table[table["setting"] == "UDA"]
    return None if adapted.empty else _best(adapted)


def _best(table: pd.DataFrame) -> str:
    return str(table[UNSEEN_MEAN].astype(float).idxmax())


def uda_note(table: pd.DataFrame) -> str:
    """Return what the mark means, for a figure; nothing where no row has it."""
    return f" {UDA_MARK} opened unlabelled target images." if any(uda_marks(table).values()) else ""


def _marked(shown: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return shown.set_index(pd.Index([f"{name}{mark}" for name, mark in uda_marks(table).items()], name="method"))


def _number(spec: str) -> Callable[[float], str]:
    return lambda value: "–" if pd.isna(value) else format(value, spec)


def p_value(value: float) -> str:
    """Return a p-value as tables and charts write it."""
    return "<0.001" if value < 0.001 else _number(".3f")(value)


def _percent(mean: float, high: float) -> str:
    if pd.isna(mean):
        return "not run"
    return f"{100 * mean:.1f}" + ("" if pd.isna(high) else f" ± {100 * (high - mean):.1f}")


def _gain(row: pd.Series, prefix: str) -> str:
    gain, low, high = (row[f"{prefix}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(gain):
        return "–"
    return f"{100 * gain:+.1f}" + ("" if pd.isna(low) else f" [{100 * low:+.1f}, {100 * high:+.1f}]")


def _ratio(row: pd.Series, base: pd.Series, name: str, spec: str) -> str:
    text = _number(spec)(row[name])
    known = pd.notna(row[name]) and pd.notna(base[name]) and row.name != base.name
    return f"{text} (×{row[name] / base[name]:.2f})" if known else text


def _added(row: pd.Series, base: pd.Series) -> str:
    name = "inference_parameters"
    text = _number(",.0f")(row[name])
    if row.name == base.name or pd.isna(row[name]) or pd.isna(base[name]):
        return text
    return f"{text} ({100 * (row[name] / base[name] - 1):+.2f} %)"


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
