"""``make results``: records of grids -> docs/results.md, its charts and the tables in the README and docs/diga.md.

``python -m dg_project.results --record streets_detection`` first copies the newest records of the benchmark to
``benchmarks/results/streets_detection.csv``, with the facts of that run beside them.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

import pandas as pd

from dg_project.errors import DataError, exit_status
from dg_project.evaluation.records import check_records
from dg_project.figures.label_table import label_table
from dg_project.figures.results_page import RecordFile, readme_block, results_page
from dg_project.files import atomic_file, weights_hash

logger = logging.getLogger(__name__)

RECORDS = Path("benchmarks") / "results"
LABELS = RECORDS / "label_precision.csv"
PAGE, IMAGES, README = Path("docs") / "results.md", Path("docs") / "images", Path("README.md")
DIGA = Path("docs") / "diga.md"
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
    parser = argparse.ArgumentParser(prog="python -m dg_project.results", description=(__doc__ or "").split("\n")[0])
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
