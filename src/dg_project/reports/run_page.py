"""Write the report of a run as one self-contained HTML file with embedded images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from dg_project.core.nested import flatten
from dg_project.core.templates import open_template
from dg_project.evaluation.formatting import low_to_high, percent
from dg_project.evaluation.records import UNSEEN_MEAN, classes_note
from dg_project.figures.style import DPI, method_label, readable

MAX_WIDTH = 1800
"""Pixels; wider pictures are scaled down to keep the file small."""
CHART_COLOURS = 30_000
"""Images with more colours are treated as photographs."""


@dataclass(frozen=True)
class Picture:
    """A figure with its title and alternative text."""

    title: str
    figure: Figure | Path
    alt: str


@dataclass(frozen=True)
class Report:
    """Contents of the page.

    Attributes:
        title: heading of the page.
        summary: one paragraph that describes the run.
        facts: label -> value, shown first (method, source, seed, steps, device, time).
        records: results rows of one seed (``RECORD_COLUMNS``), optionally with ``low`` and ``high``.
        differences: ``method, domain, metric, over, difference, low, high``; may be empty.
        interval_note: description of the intervals.
        data_card: text of the data card.
        pictures: figures in display order.
        per_class: wide tables by name; collapsed.
        parameters: resolved parameters, nested; collapsed.
        versions: name -> version (commit, Python, libraries).
        limits: sentences on what the numbers do not show.
        card: HTML of the model's card, or "".
    """

    title: str
    summary: str
    facts: Mapping[str, str]
    records: pd.DataFrame
    differences: pd.DataFrame
    interval_note: str
    data_card: str
    pictures: list[Picture]
    per_class: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    card: str = ""


def render_report(report: Report) -> str:
    """Return the page as HTML; all text is escaped, and the page loads nothing from elsewhere."""
    pictures = [{"title": p.title, "alt": p.alt, "source": embed_figure(p.figure)} for p in report.pictures]
    tables = [_results(report, str(metric)) for metric in dict.fromkeys(report.records["metric"])]
    per_class = {name: _per_class(table) for name, table in report.per_class.items()}
    return open_template("dg_project.reports", "report.html.j2", autoescape=True).render(
        report=report, tables=tables, pictures=pictures, per_class=per_class,
        parameters=list(flatten(report.parameters).items()) if report.parameters else [])


def embed_figure(figure: Figure | Path) -> str:
    """Return a figure or image file as a ``data:`` URI: PNG with 256 colours for charts, JPEG for photographs."""
    image = Image.open(figure if isinstance(figure, Path) else _rendered(figure)).convert("RGB")
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)), Image.Resampling.LANCZOS)
    kind = "jpeg" if image.getcolors(CHART_COLOURS) is None else "png"
    out = io.BytesIO()
    if kind == "jpeg":
        image.save(out, "JPEG", quality=88, optimize=True)
    else:
        image.quantize(256, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def _rendered(figure: Figure) -> io.BytesIO:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer


def _results(report: Report, metric: str) -> dict[str, Any]:
    """Return header and rows of the results table for one metric, one row per domain."""
    rows = report.records[report.records["metric"] == metric]
    methods = list(dict.fromkeys(rows["method"]))
    cells = {(r["method"], r["domain"]): r for r in rows.to_dict("records")}
    gains = {(r["method"], r["over"], r["domain"]): r for r in report.differences.to_dict("records")
             if r["metric"] == metric}
    pairs = list(dict.fromkeys((method, over) for method, over, _ in gains))
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
    """Return a value in percent and its interval as text."""
    if row is None or pd.isna(row[column]):
        return {"value": "not run", "interval": ""}
    interval = low_to_high(row.get("low", float("nan")), row.get("high", float("nan")), signed=signed)
    return {"value": percent(row[column], signed=signed), "interval": interval}


def _per_class(table: pd.DataFrame) -> dict[str, Any]:
    return {"columns": [readable(str(c)) for c in table.columns],
            "rows": [(readable(str(name)), [percent(v) for v in row])
                     for name, row in zip(table.index, table.to_numpy(float), strict=True)]}
