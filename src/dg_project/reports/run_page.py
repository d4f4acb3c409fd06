"""Write the report of a run as one self-contained HTML file with embedded images."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from dg_project.core.templates import open_template
from dg_project.evaluation.formatting import gain_and_interval, low_to_high, percent
from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.figures.style import DPI, method_label, readable
from dg_project.reports.page_charts import Dumbbell, dumbbells, legend, precision_recall_chart
from dg_project.reports.page_tables import class_table, confusion_table, data_table, parameter_groups, results_table
from dg_project.reports.run_summary import verdict, verdict_word

MAX_WIDTH = 1800
"""Pixels; wider pictures are scaled down to keep the file small."""
CHART_COLOURS = 30_000
"""Images with more colours are treated as photographs."""
SECTIONS = {"results": "Results", "domains": "Scenes and errors", "training": "Training", "data": "Data",
            "curious": "For the curious", "details": "Details"}
"""Sections of the page, in order: name of the anchor -> heading."""


@dataclass(frozen=True)
class Picture:
    """A figure of a section.

    Attributes:
        title: what kind of figure it is.
        figure: the figure, or the image file of one.
        alt: text for who cannot see it, used if the figure states no finding of its own.
        section: key of ``SECTIONS``.
        folded: whether the reader has to open it.
    """

    title: str
    figure: Figure | Path
    alt: str
    section: str = "results"
    folded: bool = False


@dataclass(frozen=True)
class Scene:
    """One domain: the same scene as each model sees it, and what each takes for what.

    Attributes:
        domain: name of the domain.
        views: (method, image file, what it found in words), the baseline first.
        errors: method -> ``confusion`` and ``precision`` as in ``evaluation.scorer.Errors.as_lists``.
    """

    domain: str
    views: Sequence[tuple[str, Path, str]] = ()
    errors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Contents of the page.

    Attributes:
        title: title of the page, and its heading if nothing was compared.
        summary: one paragraph that describes the run.
        facts: what was run, in a few words each (task, source, seed, steps, backbone).
        records: results rows of one seed (``RECORD_COLUMNS``), optionally with ``low`` and ``high``.
        differences: ``method, domain, metric, over, difference, low, high``; may be empty.
        interval_note: description of the intervals.
        data_card: the data card, as ``data.card.data_card`` returns it.
        pictures: figures in display order.
        told: what else the gains say, in a sentence.
        scenes: one entry per domain.
        marks: what the marks in the scenes mean.
        classes: class names, for the confusion matrices.
        errors_note: what the confusion matrices count.
        per_class: wide tables by name; folded.
        changed: (path, value, value in conf/base) of the parameters that were changed.
        parameters: resolved parameters, nested; folded.
        read: groups of the parameters that the pipeline read; all if empty.
        origin: label -> value: run, command, versions; shown last.
        limits: sentences on what the numbers do not show.
        card: HTML of the model's card, or "".
        task: name of the task; decides what the data card shows.
    """

    title: str
    summary: str
    facts: Sequence[str]
    records: pd.DataFrame
    differences: pd.DataFrame
    interval_note: str
    data_card: Mapping[str, Any]
    pictures: Sequence[Picture]
    told: str = ""
    scenes: Sequence[Scene] = ()
    marks: str = ""
    classes: Sequence[str] = ()
    errors_note: str = ""
    per_class: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    changed: Sequence[tuple[str, Any, Any]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    read: Sequence[str] = ()
    origin: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[str] = ()
    card: str = ""
    task: str = "detection"


def render_report(report: Report) -> str:
    """Return the page as HTML; all text is escaped, and the page loads nothing from elsewhere."""
    pictures = [_picture(picture) for picture in report.pictures]
    metrics = [str(name) for name in dict.fromkeys(report.records["metric"])]
    template = open_template("dg_project.reports", "report.html.j2", autoescape=True, filters={"code": _with_code})
    return template.render(
        report=report, sections=SECTIONS, verdict=verdict(report.differences) or report.title,
        headline=_headline(report, metrics[0]), overview=_overview(report, metrics[0]),
        tables=[results_table(report.records, report.differences, metric) for metric in metrics],
        pictures={name: [one for one in pictures if one["section"] == name] for name in SECTIONS},
        scenes=_scenes(report), data=data_table(report.data_card, report.task),
        per_class={name: class_table(table) for name, table in report.per_class.items()},
        parameters=parameter_groups(report.parameters, report.read))


def _with_code(text: str) -> Markup:
    """Return a sentence with its `backticks` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def embed_figure(figure: Figure | Path) -> str:
    """Return a figure or image file as a ``data:`` URI: PNG with 256 colours for charts, WebP for photographs."""
    if isinstance(figure, Path) and figure.suffix == ".webp":
        return _uri("webp", figure.read_bytes())
    image = Image.open(figure if isinstance(figure, Path) else _rendered(figure)).convert("RGB")
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if image.getcolors(CHART_COLOURS) is None:
        image.save(out, "WEBP", quality=85)
        return _uri("webp", out.getvalue())
    image.quantize(256, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return _uri("png", out.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _rendered(figure: Figure) -> io.BytesIO:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer


def _picture(picture: Picture) -> dict[str, Any]:
    source = embed_figure(picture.figure)
    return {"title": picture.title, "alt": finding(picture.figure) or picture.alt, "source": source,
            "kind": "chart" if source.startswith("data:image/png") else "photo", "section": picture.section,
            "folded": picture.folded}


def finding(figure: Figure | Path) -> str:
    """Return the title that a figure states, from the figure or from the file that ``FigureDataset`` wrote."""
    if isinstance(figure, Figure):
        return str(figure.get_label())
    with Image.open(figure) as image:
        return str(image.info.get("Title", ""))


def _headline(report: Report, metric: str) -> dict[str, str]:
    """Return the big number, what the interval says about it, and the words below it."""
    rows = report.records[(report.records["metric"] == metric) & (report.records["domain"] == UNSEEN_MEAN)]
    value = dict(zip(rows["method"], rows["value"], strict=True))
    gains = report.differences[report.differences["domain"] == UNSEEN_MEAN]
    if gains.empty:
        row = rows.iloc[-1]
        interval = low_to_high(row.get("low", float("nan")), row.get("high", float("nan")))
        return {"number": percent(row["value"]), "verdict": "level",
                "words": f"{metric} in percent, mean of the unseen domains{f' ({interval})' if interval else ''}"}
    gain = gains[gains["method"] == gains["method"].iloc[-1]].iloc[0]
    before, after = (percent(value.get(gain[key], float("nan"))) for key in ("over", "method"))
    word = verdict_word(gain["low"], gain["high"])
    level = "; the interval holds 0: level" if word == "level" else ""
    interval = gain_and_interval(gain["difference"], gain["low"], gain["high"]).partition(" ")[2]
    return {"number": percent(gain["difference"], signed=True), "verdict": word,
            "words": f"points of {metric} over {method_label(str(gain['over']))}, mean of the unseen domains: "
                     f"{before} → {after} {interval}{level}"}


def _overview(report: Report, metric: str) -> Markup:
    """Return the small chart: scores by domain, and the gains of the last method over the baseline."""
    rows = report.records[report.records["metric"] == metric]
    methods = [str(name) for name in dict.fromkeys(rows["method"])]
    value = {(row["method"], row["domain"]): 100 * row["value"] for row in rows.to_dict("records")
             if pd.notna(row["value"])}
    gains = {row["domain"]: row for row in report.differences.to_dict("records")
             if (row["method"], row["over"], row["metric"]) == (methods[-1], methods[0], metric)}
    lines = []
    for domain, role in rows.drop_duplicates("domain")[["domain", "role"]].itertuples(index=False):
        gain = gains.get(domain)
        lines.append(Dumbbell(
            readable(str(domain)) + (" (source)" if role == "source" else ""),
            {name: value[name, domain] for name in methods if (name, domain) in value},
            percent(gain["difference"], signed=True) if gain else "",
            verdict_word(gain["low"], gain["high"]) if gain else "level"))
    return dumbbells(lines) + legend(methods)


def _scenes(report: Report) -> list[dict[str, Any]]:
    """Return the scenes; the first unseen domain is the one to show first."""
    sources = set(report.records.loc[report.records["role"] == "source", "domain"])
    unseen = [scene for scene in report.scenes if scene.domain not in sources] or list(report.scenes)
    return [{**_scene(scene, report), "shown": scene is unseen[0]} for scene in report.scenes]


def _scene(scene: Scene, report: Report) -> dict[str, Any]:
    gains = [row for row in report.differences.to_dict("records") if row["domain"] == scene.domain]
    gain = next((row for row in gains if row["method"] == gains[-1]["method"]), None)
    curves = {name: own["precision"] for name, own in scene.errors.items() if own["precision"]}
    return {
        "domain": readable(scene.domain), "gain": percent(gain["difference"], signed=True) if gain else "",
        "verdict": verdict_word(gain["low"], gain["high"]) if gain else "level",
        "views": [{"method": method_label(name), "source": embed_figure(path), "says": says}
                  for name, path, says in scene.views],
        "confusions": [{"method": method_label(name), **confusion_table(own["confusion"], report.classes)}
                       for name, own in scene.errors.items()],
        "curves": precision_recall_chart(curves) + legend(list(curves)) if curves else "",
    }
