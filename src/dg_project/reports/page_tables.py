"""Tables of the report, as rows of text for its template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dg_project.core.nested import flatten
from dg_project.data.card import MOST_COLUMNS, card_notes, card_rows
from dg_project.evaluation.formatting import low_to_high, percent
from dg_project.evaluation.records import UNSEEN_MEAN, classes_note
from dg_project.figures.style import method_label, readable
from dg_project.reports.run_summary import verdict_word

BACKGROUND = "background"
MOST_CLASSES = 20
"""More classes than this make a list of the most frequent confusions instead of a matrix."""
MOST_PAIRS = 12


def results_table(records: pd.DataFrame, differences: pd.DataFrame, metric: str) -> dict[str, Any]:
    """Return header and rows of one metric, one row per domain; the gains of the last method come first."""
    rows = records[records["metric"] == metric]
    methods = list(dict.fromkeys(rows["method"]))
    cells = {(r["method"], r["domain"]): r for r in rows.to_dict("records")}
    gains = {(r["method"], r["over"], r["domain"]): r for r in differences.to_dict("records") if r["metric"] == metric}
    pairs = list(dict.fromkeys((method, over) for method, over, _ in gains))
    pairs.sort(key=lambda pair: pair[0] != methods[-1])
    body = []
    for domain in dict.fromkeys(rows["domain"]):
        row = rows[rows["domain"] == domain].iloc[0]
        body.append({
            "domain": readable(str(domain)), "role": str(row["role"]), "n": int(row["n_images"]),
            "mean": domain == UNSEEN_MEAN,
            "values": [_cell(cells.get((method, domain)), "value") for method in methods],
            "gains": [_cell(gains.get((*pair, domain)), "difference", signed=True) for pair in pairs]})
    return {"metric": metric, "methods": [method_label(m) for m in methods],
            "gains": [f"{method_label(method)} − {method_label(over)}" for method, over in pairs],
            "rows": body, "intervals": any(cell["interval"] for line in body for cell in line["values"]),
            "classes": classes_note(rows), "selection": ", ".join(dict.fromkeys(rows["selection"].astype(str))),
            "seeds": ", ".join(str(s) for s in dict.fromkeys(rows["seed"]))}


def _cell(row: Mapping[Any, Any] | None, column: str, *, signed: bool = False) -> dict[str, str]:
    """Return a value in percent, its interval as text, and for a gain what the interval says."""
    if row is None or pd.isna(row[column]):
        return {"value": "not run", "interval": "", "verdict": ""}
    low, high = row.get("low", float("nan")), row.get("high", float("nan"))
    return {"value": percent(row[column], signed=signed), "interval": low_to_high(low, high, signed=signed),
            "verdict": verdict_word(low, high) if signed else ""}


def class_table(table: pd.DataFrame) -> dict[str, Any]:
    """Return a wide table of scores by class as text."""
    return {"columns": [readable(str(c)) for c in table.columns],
            "rows": [(readable(str(name)), [percent(v) for v in row])
                     for name, row in zip(table.index, table.to_numpy(float), strict=True)]}


def confusion_table(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> dict[str, Any]:
    """Return a confusion matrix as text: shares of each labelled class; counts in the row of the background.

    Classes that are neither labelled nor predicted are left out.

    Returns:
        ``columns`` and ``rows`` (name, number of labels, and cells: text, share and kind, which is ``hit``, ``miss`` or
        ``wrong``); with more than ``MOST_CLASSES`` classes ``pairs`` (labelled, predicted class, share, number).
    """
    matrix = np.asarray(confusion, np.int64)
    names = [*map(readable, classes), *([BACKGROUND] if len(matrix) > len(classes) else [])]
    total = matrix.sum(axis=1)
    shares = matrix / np.maximum(total, 1)[:, None]
    if len(classes) > MOST_CLASSES:
        return {"pairs": _most_confused(matrix, shares, names)}
    columns = np.flatnonzero(total + matrix.sum(axis=0)).tolist()
    rows = [{"name": names[k], "n": f"{total[k]:,}",
             "cells": [_confused(matrix[k, j], shares[k, j], k, j, len(classes)) for j in columns]}
            for k in np.flatnonzero(total).tolist()]
    return {"columns": [names[j] for j in columns], "rows": rows}


def _confused(count: int, share: float, row: int, column: int, n_classes: int) -> dict[str, str]:
    kind = "hit" if row == column else "miss" if column == n_classes else "wrong"
    told = f"{count:,}" if row == n_classes else f"{100 * share:.0f}"
    return {"text": told if told != "0" else "", "share": f"{share:.2f}", "kind": kind}


def _most_confused(matrix: Any, shares: Any, names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    others = matrix - np.diag(np.diagonal(matrix))
    order = np.argsort(-others, axis=None, kind="stable")[:MOST_PAIRS]
    places = zip(*np.unravel_index(order, others.shape), strict=True)
    return [(names[k], names[j], f"{100 * shares[k, j]:.0f} %", f"{others[k, j]:,}")
            for k, j in places if others[k, j]]


def data_table(card: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return the data card: what the task does not use or is 0 everywhere is left out, few classes are named."""
    classes = list(card["classes"]) if len(card["classes"]) <= MOST_COLUMNS else []
    rows = card_rows(card)
    used = ["images", "boxes", "difficult", *(["masks"] if task == "segmentation" else []),
            *(["instances"] if task == "instance_segmentation" else [])]
    counts = [name for name in used if name == "images" or any(row[name] for row in rows)]
    body = [[readable(row["domain"]), row["split"], *(f"{row[name]:,}" for name in counts),
             *(f"{row['boxes_per_class'][name]:,}" for name in classes), row["size"], row["side"]] for row in rows]
    return {"columns": ["domain", "split", *counts, *classes, "size", "box side, px"], "rows": body,
            "warnings": list(card.get("warnings", [])), "notes": card_notes(card, masks=task == "segmentation")}


def parameter_groups(parameters: Mapping[str, Any], read: Iterable[str]) -> dict[str, list[tuple[str, Any]]]:
    """Return group -> (dotted path, value) of the groups that were read; of all groups if none is named."""
    names = [name for name in parameters if name in set(read)] or list(parameters)
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name in names:
        nested = isinstance(parameters[name], dict) and bool(parameters[name])
        groups.setdefault(name if nested else "run", []).extend(flatten({name: parameters[name]}).items())
    return groups
