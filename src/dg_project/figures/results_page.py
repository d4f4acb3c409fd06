"""docs/results.md and the table of the README, written from record files and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from dg_project.errors import DataError
from dg_project.evaluation.equal_domains import gains_at_equal_domains
from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.evaluation.scorers import main_metric
from dg_project.evaluation.table import (
    UDA_NOTE,
    benchmark_table,
    display_costs,
    display_equal_domains,
    display_scores,
    markdown,
)
from dg_project.figures.records_chart import records_chart
from dg_project.parameters import Task

BASELINE, ALSO = "erm", ("naive", "cdga", "mic", "mic_pseudo", "diga_warmup", "diga")
TINY_LDM, CLIP_LIKE = "tiny_ldm", "clip_like"
HEADLINE = (BASELINE, "mixstyle", "naive", "drsf")
"""Rows that the README shows; docs/results.md has them all."""


@dataclass(frozen=True)
class RecordFile:
    """Records that a grid of methods and seeds left, and the facts of how they were made.

    Attributes:
        name: of the file, without its ending.
        records: ``RECORD_COLUMNS`` and the columns of costs and origin.
        facts: ``pipeline, run, commit, dirty, hardware, versions, confidence, parameters``, and ``generator``, the
            fingerprint of the weights that painted.
    """

    name: str
    records: pd.DataFrame
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        for column in ("task", "source"):
            if (values := self.records[column].unique()).size != 1:
                raise DataError(f"benchmarks/results/{self.name}.csv holds records of several values of '{column}' "
                                f"({', '.join(map(str, values))}); export one file for each")

    @property
    def metric(self) -> str:
        """The metric that its task is judged by."""
        return main_metric(self.records["task"].iloc[0])

    @property
    def table(self) -> pd.DataFrame:
        """One row per method, with gains over ERM and over naive mixing."""
        return benchmark_table(self.records, metric=self.metric, baseline=BASELINE, also=ALSO,
                               confidence=self.facts["confidence"])

    def chart(self) -> Figure:
        """Draw the table."""
        return records_chart(self.table, self.records, metric=self.metric, baseline=BASELINE,
                             confidence=self.facts["confidence"])


def results_page(files: list[RecordFile], generator: str) -> str:
    """Return docs/results.md; ``generator`` is the fingerprint of the embedded diffusion model as it ships."""
    return _template("results.md.j2").render(sections=[_section(file, generator) for file in files])


def readme_block(files: list[RecordFile], generator: str) -> str:
    """Return what stands between the markers in the README: one short table for each task and budget that DRSF has."""
    tasks = get_args(Task)
    drsf = [file for file in files if file.facts["pipeline"] == "benchmark" and "drsf" in file.table.index]
    shown: dict[tuple[str, str], dict[str, Any]] = {}
    for file in sorted(drsf, key=lambda file: tasks.index(file.records["task"].iloc[0])):
        section = _section(file, generator)
        shown.setdefault((section["task"], section["budget"]), {**section, "table": markdown(_short(file))})
    return _template("results_readme.md.j2").render(sections=list(shown.values()))


def _section(file: RecordFile, generator: str) -> dict[str, Any]:
    rows, table = file.records, file.table
    return {
        "name": file.name, "metric": file.metric, "facts": file.facts, "confidence": f"{file.facts['confidence']:.0%}",
        "task": rows["task"].iloc[0].replace("_", " "), "source": rows["source"].iloc[0],
        "targets": list(dict.fromkeys(rows.loc[(rows["role"] == "target") & (rows["domain"] != UNSEEN_MEAN),
                                               "domain"])),
        "images": _one_or_range(rows.loc[rows["domain"] != UNSEEN_MEAN, "n_images"]),
        "seeds": _one_or_range(table["n_seeds"]), "rules": ", ".join(dict.fromkeys(table["selection"])),
        "budget": f"{_one_or_range(table['max_steps'])} steps of {_one_or_range(table['images_per_step'])} images",
        "scores": markdown(display_scores(table, BASELINE)), "costs": markdown(display_costs(table, BASELINE)),
        "equal_domains": _equal_domains(file), "uda": UDA_NOTE if (table["setting"] == "UDA").any() else "",
        "overrides": _overrides(rows), "heard": _heard_of_weather(file),
        "earlier": _painted(file) and file.facts.get("generator", "") != generator,
        "mixing": _mixing(file),
    }


def _equal_domains(file: RecordFile) -> str:
    """Return the rows beside naive mixing of the same pseudo domains, where there are several choices of them."""
    gains = gains_at_equal_domains(file.records, metric=file.metric, confidence=file.facts["confidence"])
    return "" if gains.empty else markdown(display_equal_domains(gains))


def _short(file: RecordFile) -> pd.DataFrame:
    table = file.table
    shown = display_scores(table[table.index.isin(HEADLINE)], BASELINE)
    source = file.records["source"].iloc[0].replace("_", " ")
    gains = [column for name in HEADLINE for column in (f"gain over {name}", f"p, {name}") if column in shown]
    return shown[[source, "unseen mean", *gains, "seeds"]]


def _heard_of_weather(file: RecordFile) -> dict[str, list[str]]:
    """Return the embedded models that were trained on rendered streets in every weather, and the rows they help."""
    used, table = file.facts["parameters"], file.table
    painted = _painted(file)
    taught = _name_of(used, "scmd", "teacher") == CLIP_LIKE
    rows = {"the diffusion model": [str(name) for name in table.index[table["images_generated"] > 0] if painted],
            "the teacher": [str(name) for name in table.index if taught and name == "scmd"]}
    return {model: helped for model, helped in rows.items() if helped}


def _mixing(file: RecordFile) -> str:
    """Return how mixed batches were drawn; nothing where no row sees pseudo images."""
    if not (file.table["images_generated"] > 0).any():
        return ""
    share = file.facts["parameters"].get("training", {}).get("source_share")
    return ("Mixed batches draw every source and every pseudo image equally often." if share is None else
            f"Of the source and pseudo images of mixed batches {share:.0%} are source images.".replace("%", " %"))


def _painted(file: RecordFile) -> bool:
    """Return whether the embedded diffusion model made images for any row."""
    return _name_of(file.facts["parameters"], "ldm", "checkpoint") == TINY_LDM and bool(
        (file.table["images_generated"] > 0).any())


def _name_of(parameters: dict[str, Any], group: str, key: str) -> str:
    return Path(str(parameters.get(group, {}).get(key, ""))).name


def _overrides(records: pd.DataFrame) -> dict[str, str]:
    """Return name -> what the row changes, of the rows that change anything."""
    if "overrides" not in records:
        return {}
    first = records.groupby("method", sort=False)["overrides"].first()
    return {str(name): str(text) for name, text in first.items() if text != "{}"}


def _one_or_range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _template(name: str) -> Any:
    # Markdown, no page: there is nothing to escape for.
    return Environment(loader=PackageLoader("dg_project.figures", "."), undefined=StrictUndefined, trim_blocks=True,
                       lstrip_blocks=True, autoescape=False, keep_trailing_newline=True).get_template(name)
