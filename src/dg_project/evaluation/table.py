"""Benchmark tables: summarise records over seeds, compare rows at equal pseudo domains, format both as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dg_project.config.grids import BASELINE
from dg_project.core.errors import DataError, nearest
from dg_project.evaluation.formatting import gain_and_interval, mean_and_half_width, number, p_value, percent
from dg_project.evaluation.intervals import Paired, paired_test, t_interval
from dg_project.evaluation.records import COST_COLUMNS, UNSEEN_MEAN, check_records

SUMMARY_COLUMNS = ["selection", "setting", "n_seeds"]
GAIN_COLUMNS = ["gain", "gain_low", "gain_high", "gain_p_t", "gain_p_wilcoxon", "gain_n"]
UDA_MARK = "†"
UDA_NOTE = (f"{UDA_MARK} UDA: also trained on unlabelled target images, in addition to the images per step given, so "
            "not comparable with other rows.")
ORACLE_MARK = "‡"
ORACLE_NOTE = (f"{ORACLE_MARK} Oracle: trained on labelled target images; an upper bound, no method, and never chosen.")
MARKS = {"UDA": UDA_MARK, "oracle": ORACLE_MARK}
"""Setting of a row -> the mark at its name."""
NOTES = {"UDA": UDA_NOTE, "oracle": ORACLE_NOTE}
ALL_DOMAINS = "all"
EQUAL_DOMAINS_COLUMNS = ["domains", "method", "source", "unseen", "reference_source", "reference_unseen", "gain",
                         "gain_low", "gain_high", "gain_p_t"]


def benchmark_table(records: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = BASELINE,
                    confidence: float = 0.95, also: Sequence[str] = ()) -> pd.DataFrame:
    """Summarise records over seeds.

    Args:
        records: ``RECORD_COLUMNS`` and ``COST_COLUMNS`` of many (method, seed).
        metric: metric to summarise.
        baseline: method that gains on the unseen mean are taken over, paired by seed.
        confidence: confidence of all intervals (t over seeds).
        also: further methods to take gains over; those without records are skipped.

    Returns:
        One row per method (index), in order of appearance with the baseline first. Columns: ``SUMMARY_COLUMNS``; for
        each domain and ``unseen_mean`` ``<name>``, ``<name>_low``, ``<name>_high``; ``GAIN_COLUMNS`` over the baseline
        (``gain_n`` seeds in common), and the same over ``also`` with ``gain_over_<name>`` for ``gain``; means of
        ``seconds_per_step`` and of ``COST_COLUMNS``.

    Raises:
        DataError: the baseline or the metric is not among the records, or a method mixes selection rules.
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
    for method, part in by_method.items():
        table[method] = _summary(part, domains, confidence)
        for prefix, reference in references.items():
            table[method] |= _gains(part, by_method[reference], prefix, confidence)
        table[method] |= {name: part[name].mean() if name in part else math.nan
                          for name in ("seconds_per_step", *COST_COLUMNS)}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method")


def with_groups(records: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the records with a row per method, seed, metric and group: the mean over the domains of the group.

    Args:
        records: ``RECORD_COLUMNS``.
        groups: name -> unseen domains; the name becomes the ``domain`` of the new rows.
    """
    keys = ["method", "seed", "metric"]
    means = []
    for name, domains in groups.items():
        rows = records[records["domain"].isin(list(domains))]
        images = rows.groupby(keys, sort=False)["n_images"].transform("sum")
        values = rows.groupby(keys, sort=False)["value"].transform("mean")
        means.append(rows.assign(domain=name, value=values, n_images=images).drop_duplicates(keys))
    return pd.concat([records, *means], ignore_index=True)


def gain_over(name: str) -> str:
    """Return the column of the gain over a method other than the baseline."""
    return f"gain_over_{name}"


def _summary(rows: pd.DataFrame, domains: list[str], confidence: float) -> dict[str, Any]:
    """Return ``SUMMARY_COLUMNS`` and the mean of each domain with its interval, for one method."""
    rules = list(dict.fromkeys(rows["selection"]))
    if len(rules) > 1:
        raise DataError(f"benchmark records: '{rows['method'].iloc[0]}' mixes the selection rules {rules}; "
                        "a table compares one rule, keep the records of one")
    setting = rows["setting"].iloc[0] if "setting" in rows else "DG"
    summary: dict[str, Any] = dict(zip(SUMMARY_COLUMNS, (rules[0], setting, rows["seed"].nunique()), strict=True))
    for domain in domains:
        interval = t_interval(rows.loc[rows["domain"] == domain, "value"].tolist(), confidence)
        summary |= {domain: interval.mean, f"{domain}_low": interval.low, f"{domain}_high": interval.high}
    return summary


def _gains(rows: pd.DataFrame, reference: pd.DataFrame, prefix: str, confidence: float) -> dict[str, Any]:
    """Return ``GAIN_COLUMNS`` of one method over another, with ``prefix`` for ``gain``."""
    paired = paired_gain(rows, reference, confidence)
    values = [paired.difference, paired.low, paired.high, paired.p_t, paired.p_wilcoxon, paired.n]
    if rows["method"].iloc[0] == reference["method"].iloc[0]:
        values = [math.nan] * 5 + [0]
    return {name.replace("gain", prefix, 1): value for name, value in zip(GAIN_COLUMNS, values, strict=True)}


def paired_gain(rows: pd.DataFrame, reference: pd.DataFrame, confidence: float = 0.95) -> Paired:
    """Compare the unseen means of two methods, one metric of each, over the seeds that they have in common."""
    values, base = (part[part["domain"] == UNSEEN_MEAN].set_index("seed")["value"] for part in (rows, reference))
    seeds = sorted(set(values.index) & set(base.index))
    return paired_test(values.loc[seeds].tolist(), base.loc[seeds].tolist(), confidence)


def gains_at_equal_domains(records: pd.DataFrame, *, metric: str, reference: str = "naive",
                           confidence: float = 0.95) -> pd.DataFrame:
    """Compare rows with naive mixing of the same pseudo domains, for grids with several choices of domains.

    Args:
        records: records of a grid, with ``overrides``.
        metric: metric to compare.
        reference: method that gains are taken over, paired by seed.
        confidence: confidence of the intervals.

    Returns:
        ``EQUAL_DOMAINS_COLUMNS``: one row per row of another method that changes nothing but its domains, the fewest
        domains first; means over seeds of the row and of the reference on the source and on the unseen mean, and the
        gain on the latter. Empty if the reference has only one choice of domains.
    """
    if "overrides" not in records:  # recorded before rows could choose their domains
        return pd.DataFrame(columns=EQUAL_DOMAINS_COLUMNS)
    rows = records[records["metric"] == metric]
    plain = {row: choice for row, text in rows.groupby("method", sort=False)["overrides"].first().items()
             if (choice := _choice(str(row), str(text))) is not None}
    generated = {row for row, part in rows.groupby("method")["images_generated"] if part.max() > 0}
    references = {domains: row for row, (method, domains) in plain.items() if method == reference}
    lines = []
    # The fewest domains first, all of them last.
    for row, (method, domains) in sorted(plain.items(), key=lambda item: len(item[1][1]) or math.inf):
        if method == reference or row not in generated or domains not in references or len(references) < 2:
            continue
        part, base = (rows[rows["method"] == name] for name in (row, references[domains]))
        paired = paired_gain(part, base, confidence)
        lines.append([", ".join(domains) or ALL_DOMAINS, method, *_means(part), *_means(base), paired.difference,
                      paired.low, paired.high, paired.p_t])
    return pd.DataFrame(lines, columns=EQUAL_DOMAINS_COLUMNS)


def _choice(row: str, overrides: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the method of a row and its pseudo domains, () for all; None if it changes anything else."""
    changes = json.loads(overrides)
    if set(changes) - {"method", "domains"}:
        return None
    return changes.get("method", row), tuple(changes.get("domains", ()))


def _means(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the means over seeds on the source and on the unseen mean."""
    return (float(rows.loc[rows["role"] == "source", "value"].mean()),
            float(rows.loc[rows["domain"] == UNSEEN_MEAN, "value"].mean()))


def table_domains(table: pd.DataFrame) -> list[str]:
    """Return the domains of a benchmark table in order, ``unseen_mean`` last."""
    return [str(c) for c in table.columns if f"{c}_low" in table.columns and not str(c).startswith("gain")]


def best_unseen(table: pd.DataFrame) -> str:
    """Return the row with the highest unseen mean, among those trained without target images."""
    return _best(table[table["setting"] == "DG"])


def best_adapted(table: pd.DataFrame) -> str | None:
    """Return the row with the highest unseen mean, among those trained with target images; None if there are none."""
    adapted = table[table["setting"] == "UDA"]
    return None if adapted.empty else _best(adapted)


def _best(table: pd.DataFrame) -> str:
    return str(table[UNSEEN_MEAN].astype(float).idxmax())


def setting_marks(table: pd.DataFrame) -> dict[str, str]:
    """Return row -> the suffix of its name: a mark if it opened target images in training, else ""."""
    return {str(name): f" {MARKS[setting]}" if setting in MARKS else "" for name, setting in table["setting"].items()}


def setting_notes(table: pd.DataFrame) -> list[str]:
    """Return what the marks of a table mean."""
    return [note for setting, note in NOTES.items() if (table["setting"] == setting).any()]


def short_notes(table: pd.DataFrame) -> str:
    """Return what the marks mean, for the caption of a figure; "" if no row has one."""
    opened = {"UDA": f" {UDA_MARK} opened unlabelled target images.",
              "oracle": f" {ORACLE_MARK} trained on labelled target images."}
    return "".join(note for setting, note in opened.items() if (table["setting"] == setting).any())


def to_markdown(table: pd.DataFrame, *, metric: str = "mAP@50", baseline: str = BASELINE,
                confidence: float = 0.95, note: str = "") -> str:
    """Return scores and costs as two Markdown tables, with a note on how to read them and a further ``note``."""
    rules = ", ".join(dict.fromkeys(table["selection"]))
    references = " or ".join(_references(table, baseline).values())
    notes = [f"{metric} in percent, mean ± half-width of the {confidence:.0%} t-interval over seeds. Gain: unseen mean "
             f"minus that of {references}, paired by seed, with the p-value of the paired t-test. Checkpoints selected "
             f"by: {rules}. Ratios and added parameters are against {baseline}."]
    notes += setting_notes(table)
    if note:
        notes.append(note)
    parts = [markdown(display_scores(table, baseline)), markdown(display_costs(table, baseline)), " ".join(notes)]
    return "\n\n".join(parts) + "\n"


def display_scores(table: pd.DataFrame, baseline: str = BASELINE) -> pd.DataFrame:
    """Return the scores as text: percent, mean and half-width of the interval, gains with p-values.

    The answer comes first, so that it is in view where a table is wider than its page: the unseen mean and its gains.
    """
    shown = pd.DataFrame(index=table.index)
    *domains, unseen = table_domains(table)
    shown[unseen.replace("_", " ")] = _with_half_width(table, unseen)
    for prefix, name in _references(table, baseline).items():
        shown[f"gain over {name}"] = [_gain(row, prefix) for _, row in table.iterrows()]
        shown[f"p, {name}"] = table[f"{prefix}_p_t"].map(p_value)
    for domain in domains:
        shown[domain.replace("_", " ")] = _with_half_width(table, domain)
    shown["seeds"] = table["n_seeds"].astype(str)
    shown["selected by"] = table["selection"]
    return _marked(shown, table)


def _with_half_width(table: pd.DataFrame, domain: str) -> list[str]:
    return [mean_and_half_width(row[domain], row[f"{domain}_high"]) for _, row in table.iterrows()]


def display_costs(table: pd.DataFrame, baseline: str = BASELINE) -> pd.DataFrame:
    """Return the costs of each method as text; ratios are to the baseline."""
    base: Any = table.loc[baseline]
    rows = [row for _, row in table.iterrows()]

    def counts(column: str) -> list[str]:
        return [number(row[column], ",.0f") for row in rows]

    images = [number(row["images_per_step"], ".0f") for row in rows]
    return _marked(pd.DataFrame({
        "steps × images": [f"{steps} × {count}" for steps, count in zip(counts("max_steps"), images, strict=True)],
        "s/step": [_ratio(row, base, "seconds_per_step", ".3f") for row in rows],
        "inference, ms/image": [_ratio(row, base, "inference_ms", ".1f") for row in rows],
        "parameters": [_added(row, base) for row in rows],
        "images generated": counts("images_generated"),
        "LDM, s": counts("ldm_seconds"),
        "peak memory, MB": counts("peak_memory_mb"),
    }, index=table.index), table)


def display_equal_domains(gains: pd.DataFrame, reference: str = "naive") -> pd.DataFrame:
    """Return ``gains_at_equal_domains`` as text, with the pseudo domains as the index."""
    return pd.DataFrame({
        "method": gains["method"],
        **{f"{where}: {who}": gains[column].map(percent)
           for where, end in (("source", "source"), ("unseen mean", "unseen"))
           for who, column in (("method", end), (reference, f"reference_{end}"))},
        f"gain over {reference}": [_gain(row, "gain") for _, row in gains.iterrows()],
        "p": gains["gain_p_t"].map(p_value),
    }).set_index(pd.Index(gains["domains"], name="pseudo domains"))


def markdown(shown: pd.DataFrame) -> str:
    """Return a table of text as Markdown, its index as the first column."""
    table = shown.reset_index()
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table.astype(str).to_numpy())])


def _references(table: pd.DataFrame, baseline: str) -> dict[str, str]:
    """Return the prefix of the gain columns -> the method that they are taken over."""
    prefixes = [str(c).removesuffix("_p_t") for c in table.columns if str(c).endswith("_p_t")]
    return {prefix: baseline if prefix == "gain" else prefix.removeprefix(gain_over("")) for prefix in prefixes}


def _marked(shown: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return shown.set_index(pd.Index([f"{name}{mark}" for name, mark in setting_marks(table).items()], name="method"))


def _gain(row: pd.Series, prefix: str) -> str:
    return gain_and_interval(row[prefix], row[f"{prefix}_low"], row[f"{prefix}_high"])


def _ratio(row: pd.Series, base: pd.Series, name: str, spec: str) -> str:
    text = number(row[name], spec)
    known = pd.notna(row[name]) and pd.notna(base[name]) and row.name != base.name
    return f"{text} (×{row[name] / base[name]:.2f})" if known else text


def _added(row: pd.Series, base: pd.Series) -> str:
    name = "inference_parameters"
    text = number(row[name], ",.0f")
    if row.name == base.name or pd.isna(row[name]) or pd.isna(base[name]):
        return text
    return f"{text} ({100 * (row[name] / base[name] - 1):+.2f} %)"
