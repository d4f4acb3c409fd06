"""Recorded regime maps: tables as CSV and the facts of their runs as JSON, and what ``docs/when_it_helps.md`` shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.core.templates import open_template
from dg_project.evaluation.regime import to_markdown
from dg_project.reports.record_files import OUTPUTS, RECORDS, made_by, title_of, write_record

MAPS = RECORDS / "regime"
PIPELINE = "regime"
REPORTING = Path("data") / "08_reporting"


@dataclass(frozen=True)
class RegimeMap:
    """One recorded map.

    Attributes:
        name: file name without its suffix.
        table: from ``evaluation.regime.regime_table``.
        facts: from ``pipelines.facts.state_facts``; ``title``, if it has one.
    """

    name: str
    table: pd.DataFrame
    facts: dict[str, Any]


def read_maps(root: Path) -> list[RegimeMap]:
    """Return the recorded maps of a project by name."""
    return [RegimeMap(path.stem, pd.read_csv(path), json.loads(path.with_suffix(".json").read_text()))
            for path in sorted((root / MAPS).glob("*.csv"))]


def add_map(root: Path, name: str, title: str | None = None, run: str | None = None) -> Path:
    """Copy a map and the facts of its run to ``benchmarks/results/regime``; without ``run``, the newest.

    Raises:
        DataError: see ``record_files.made_by`` and ``write_record``.
    """
    table, facts = made_by(root, PIPELINE, REPORTING / "regime_table.csv", OUTPUTS / "regime_facts.json", run)
    return write_record(root / MAPS / f"{name}.csv", pd.read_csv(table), facts, title, kept=("metric",))


def maps_block(maps: list[RegimeMap]) -> str:
    """Return the maps as Markdown."""
    template = open_template("dg_project.reports", "regime_maps.md.j2", keep_trailing_newline=True)
    return template.render(maps=[{"name": one.name, "facts": one.facts, "table": to_markdown(one.table),
                                  "task": one.facts["parameters"]["task"].replace("_", " "),
                                  "metric": one.table["metric"].iloc[0], "seeds": int(one.table["seeds"].max()),
                                  "training": one.facts["parameters"]["training"],
                                  "title": title_of(one.name, one.facts)}
                                 for one in maps])
