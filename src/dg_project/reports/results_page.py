"""docs/results.md and the table of the README, written from record files and from nothing else."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from dg_project.config import Task
from dg_project.core.errors import DataError, exit_status
from dg_project.core.files import atomic_file, weights_hash
from dg_project.evaluation.records import UNSEEN_MEAN, check_records
from dg_project.evaluation.scorers import main_metric
from dg_project.evaluation.table import (
    UDA_NOTE,
    benchmark_table,
    display_costs,
    display_equal_domains,
    display_scores,
    gains_at_equal_domains,
    markdown,
)
from dg_project.figures.benchmark_chart import records_chart
from dg_project.figures.label_precision import label_table

logger = logging.getLogger(__name__)

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
    return Environment(loader=PackageLoader("dg_project.reports", "."), undefined=StrictUndefined, trim_blocks=True,
                       lstrip_blocks=True, autoescape=False, keep_trailing_newline=True).get_template(name)


RECORDS = Path("benchmarks") / "results"
LABELS = RECORDS / "label_precision.csv"
PAGE, IMAGES, README = Path("docs") / "results.md", Path("docs") / "images", Path("README.md")
DIGA = Path("docs") / "methods" / "diga.md"
OUTPUTS = Path("data") / "07_model_output"
EMBEDDED = Path("data") / "06_models" / "tiny_ldm"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def record(root: Path, name: str, pipeline: str) -> Path:
    """Copy the newest records of a pipeline, and the facts of the run that wrote them.

    Args:
        root: the project.
        name: of the new record file; an old one of this name is replaced.
        pipeline: ``benchmark`` or ``ablation``.

    Returns:
        The CSV file.

    Raises:
        DataError: the pipeline has not run here yet, or its records and facts are of different runs.
    """
    found = {end: sorted((root / OUTPUTS / f"{pipeline}_{end}").glob(f"*/{pipeline}_{end}"))
             for end in ("records.csv", "facts.json")}
    if not all(found.values()):
        raise DataError(f"there are no records of the {pipeline} in '{root / OUTPUTS}'; run "
                        f"`kedro run --pipeline={pipeline}` first")
    newest = {end: paths[-1] for end, paths in found.items()}
    if len(versions := {path.parent.name for path in newest.values()}) != 1:
        raise DataError(f"the newest records and facts of the {pipeline} are of different runs "
                        f"({', '.join(sorted(versions))}): the last run did not end; run "
                        f"`kedro run --pipeline={pipeline}` again, it resumes")
    table = pd.read_csv(newest["records.csv"])
    with atomic_file(root / RECORDS / f"{name}.csv") as aside:
        check_records(table, str(newest["records.csv"])).to_csv(aside, index=False, float_format="%.6g")
    with atomic_file(root / RECORDS / f"{name}.json") as aside:
        aside.write_text(newest["facts.json"].read_text().rstrip() + "\n")
    return root / RECORDS / f"{name}.csv"


def read_record_files(folder: Path) -> list[RecordFile]:
    """Return the record files of a folder by name; other tables (timings) have no column ``kedro_version_id``.

    Raises:
        DataError: a file lacks columns, or the facts beside it are missing.
    """
    files = []
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path)
        if "kedro_version_id" not in table:
            continue
        facts = path.with_suffix(".json")
        if not facts.is_file():
            raise DataError(f"'{path}' has no '{facts.name}' beside it, which says how it was made; export it again "
                            f'with `make results ARGS="--record {path.stem}"`')
        files.append(RecordFile(path.stem, check_records(table, str(path)), json.loads(facts.read_text())))
    return files


def with_block(text: str, block: str, name: str = README.name) -> str:
    """Return a page with the block between its markers.

    Raises:
        DataError: the markers are not there.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise DataError(f"{name} needs the lines '{BEGIN}' and '{END}' once each, around the table of results")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block.strip()}\n{END}{rest.split(END)[1]}"


def render(root: Path) -> dict[Path, str]:
    """Return path -> text of every page that is generated from the record files."""
    files = read_record_files(root / RECORDS)
    shipped = weights_hash(root / EMBEDDED)
    pages = {PAGE: results_page(files, shipped),
             README: with_block((root / README).read_text(), readme_block(files, shipped))}
    if (root / LABELS).is_file():
        table = label_table(pd.read_csv(root / LABELS))
        pages[DIGA] = with_block((root / DIGA).read_text(), table, DIGA.name)
    return pages


def write(root: Path) -> None:
    """Write the pages and the charts that they show."""
    for path, text in render(root).items():
        with atomic_file(root / path) as aside:
            aside.write_text(text)
        logger.info("wrote %s", path)
    for file in read_record_files(root / RECORDS):
        with atomic_file(root / IMAGES / f"results_{file.name}.png") as aside:
            file.chart().savefig(aside)


def main(arguments: list[str] | None = None, root: Path | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m dg_project.reports.results_page",
                                     description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--record", metavar="NAME", help="first copy the newest records of a pipeline to "
                                                         "benchmarks/results/NAME.csv")
    parser.add_argument("--of", choices=["benchmark", "ablation"], default="benchmark",
                        help="the pipeline whose records are copied")
    options = parser.parse_args(arguments)
    where = root or Path.cwd()

    def work() -> None:
        if options.record:
            logger.info("recorded %s", record(where, options.record, options.of))
        write(where)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
