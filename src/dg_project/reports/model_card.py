"""Write the domain-robustness card of a trained model: training data, unseen domains, scores and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt

from dg_project.core.templates import open_template
from dg_project.data.manifest import ADAPT
from dg_project.evaluation.formatting import MISSING, low_to_high, percent
from dg_project.evaluation.records import UNSEEN_MEAN, classes_note
from dg_project.figures.style import method_label, readable


@dataclass(frozen=True)
class ModelFacts:
    """Contents of the card other than the scores, all read from artifacts.

    Attributes:
        spec: ``spec`` of ``model.json``.
        trained: ``meta`` of ``model.json``.
        identity: hash of the model's files.
        run: version of the run that scored it.
        data_card: card of the ingested data.
        limits: sentences on what the numbers do not show.
        baseline: method to compare with, or None.
    """

    spec: Mapping[str, Any]
    trained: Mapping[str, Any]
    identity: str
    run: str
    data_card: Mapping[str, Any]
    limits: list[str]
    baseline: str | None = None

    @property
    def name(self) -> str:
        """Name of the model in the results."""
        return str(self.trained.get("label", self.spec["method"]))


def model_card(records: pd.DataFrame, facts: ModelFacts) -> str:
    """Return the card as Markdown.

    Args:
        records: results rows of the model and its baseline, with ``low`` and ``high`` (NaN without intervals).
        facts: the other contents.
    """
    template = open_template("dg_project.reports", "model_card.md.j2",
                             filters={"readable": readable, "label": method_label})
    spec, splits = facts.spec, facts.data_card["splits"]
    own = records[records["method"] == facts.name]
    source = str(facts.trained["source"])
    targets = [str(domain) for domain in dict.fromkeys(own["domain"]) if domain not in (source, UNSEEN_MEAN)]
    return template.render(
        facts=facts, spec=spec, trained=facts.trained, source=source,
        counts={entry["split"]: entry["images"] for entry in splits if entry["domain"] == source},
        pseudo=[name for name in spec["domains"] if name not in (source, ADAPT)],
        adapted=facts.trained.get("images_adapted_to", 0), targets=targets,
        images={str(row["domain"]): row["n_images"] for row in own.to_dict("records")},
        tables=[_scores(records, str(metric), source, facts) for metric in dict.fromkeys(own["metric"])])


def card_as_html(card: str) -> str:
    """Return a card as HTML to embed in a page, with headings one level lower; HTML, links and images stay text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    tokens = parser.parse(card)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 1}"
    text: str = parser.renderer.render(tokens, parser.options, {})
    return text.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")


def _scores(records: pd.DataFrame, metric: str, source: str, facts: ModelFacts) -> dict[str, Any]:
    """Return the rows of one metric: score with interval, relative drop from the source, gain over the baseline."""
    rows = records[records["metric"] == metric]
    own = rows[rows["method"] == facts.name].set_index("domain")
    other = rows[rows["method"] == facts.baseline].set_index("domain")["value"] if facts.baseline else None
    at_source = float(own["value"].to_dict()[source])
    baseline = {} if other is None else other.to_dict()
    body = []
    for domain, row in own.iterrows():
        body.append({
            "domain": str(domain), "source": domain == source, "n": int(row["n_images"]),
            "value": percent(row["value"], missing="not scored"),
            "interval": low_to_high(row["low"], row["high"], missing=MISSING),
            "drop": MISSING if domain == source else _drop(float(row["value"]), at_source),
            "gain": percent(row["value"] - baseline[domain], signed=True) if domain in baseline else MISSING})
    return {"metric": metric, "rows": body, "gains": other is not None, "classes": classes_note(rows)}


def _drop(value: float, at_source: float) -> str:
    """Return ``(source - target) / source`` in percent; a dash without a score at the source."""
    return MISSING if pd.isna(value) or not at_source > 0 else f"{100 * (at_source - value) / at_source:.0f} %"
