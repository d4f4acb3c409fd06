"""Write the results pages: docs/results/ and the tables of README and other pages, all from recorded files."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from dg_project.config import Task
from dg_project.config.grids import BASELINE
from dg_project.core.errors import DataError, exit_status
from dg_project.core.files import atomic_file, weights_hash
from dg_project.core.templates import open_template
from dg_project.evaluation.formatting import MISSING, gain_and_interval, mean_and_half_width
from dg_project.evaluation.records import UNSEEN_MEAN, classes_note
from dg_project.evaluation.table import (
    display_costs,
    display_equal_domains,
    display_scores,
    gain_over,
    gains_at_equal_domains,
    markdown,
    setting_notes,
)
from dg_project.figures.label_precision import label_table
from dg_project.figures.regime import regime_chart
from dg_project.reports.record_files import ARTIFACTS, RECORDS, RecordFile, add_record_file, read_record_files
from dg_project.reports.regime_maps import PIPELINE as REGIME
from dg_project.reports.regime_maps import add_map, maps_block, read_maps
from dg_project.reports.speed_table import speed_table
from dg_project.reports.zoo_table import shipped_models, zoo_table

logger = logging.getLogger(__name__)

README, RESULTS, IMAGES = Path("README.md"), Path("docs") / "results", Path("docs") / "images"
INDEX, ARCHIVE, PHOTOGRAPHS = RESULTS / "index.md", RESULTS / "archive.md", RESULTS / "photographs.md"
LABELS, DIGA = RECORDS / "label_precision.csv", Path("docs") / "methods" / "diga.md"
SPEED, PERFORMANCE = RECORDS / "peers.csv", Path("docs") / "performance.md"
MODELS_PAGE, REGIMES = Path("docs") / "models.md", Path("docs") / "when_it_helps.md"
EMBEDDED = Path("data") / "06_models" / "tiny_ldm"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
MIXING, METHOD = "naive", "drsf"
HEADLINE = (BASELINE, "mixstyle", MIXING, METHOD)
"""Rows of the README's table; docs/results has them all."""
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def render(root: Path) -> dict[Path, str]:
    """Return path -> text of every page that is generated from the record files of a project."""
    files = read_record_files(root / RECORDS)
    shipped = weights_hash(root / EMBEDDED)
    pages = results_pages(files, shipped)
    pages[README] = with_block((root / README).read_text(), readme_block(files, shipped))
    if (root / LABELS).is_file():
        table = label_table(pd.read_csv(root / LABELS))
        pages[DIGA] = with_block((root / DIGA).read_text(), table, DIGA.name)
    if (root / SPEED).is_file():
        table = speed_table(pd.read_csv(root / SPEED))
        pages[PERFORMANCE] = with_block((root / PERFORMANCE).read_text(), table, PERFORMANCE.name)
    if (root / REGIMES).is_file():
        pages[REGIMES] = with_block((root / REGIMES).read_text(), maps_block(read_maps(root)), REGIMES.name)
    if shipped_models(root):
        pages[MODELS_PAGE] = with_block((root / MODELS_PAGE).read_text(), zoo_table(root), MODELS_PAGE.name)
    return pages


def results_pages(files: list[RecordFile], shipped: str) -> dict[Path, str]:
    """Return path -> text of the index, one page per task, real photographs, and the archive of superseded records.

    Args:
        files: all record files.
        shipped: fingerprint of the embedded diffusion model as it ships.
    """
    superseded = [file for file in files if file.is_superseded(shipped)]
    pages = {RESULTS / f"{task}.md": (_written(task).capitalize(), [file for file in files if file.task == task and not
                                                                   (file.on_photographs or file in superseded)])
             for task in get_args(Task) if any(file.task == task and not file.on_photographs for file in files)}
    if photographs := [file for file in files if file.on_photographs and file not in superseded]:
        pages[PHOTOGRAPHS] = "Photographs", photographs
    pages[ARCHIVE] = "Archive", superseded
    listed = [{"title": title, "page": path.name, "files": part}
              for path, (title, part) in pages.items()]
    index = open_template("dg_project.reports", "results_index.md.j2", keep_trailing_newline=True)
    return {INDEX: index.render(pages=listed, recorded=bool(files), **_headlines(files, shipped)),
            **{path: _page(title, path, part, shipped) for path, (title, part) in pages.items()}}


def _page(title: str, path: Path, files: list[RecordFile], shipped: str) -> str:
    template = open_template("dg_project.reports", "results_page.md.j2", keep_trailing_newline=True)
    return template.render(title=title, kind=path.stem, sections=[_section(file, shipped) for file in files])


def _section(file: RecordFile, shipped: str) -> dict[str, Any]:
    """Return what the page says about one record file."""
    rows, table = file.records, file.table
    return {
        "name": file.name, "title": file.title, "metric": file.metric, "facts": file.facts, "task": _written(file.task),
        "source": file.source, "targets": _targets(file),
        "images": _one_or_range(rows.loc[rows["domain"] != UNSEEN_MEAN, "n_images"]),
        "seeds": _one_or_range(table["n_seeds"]), "rules": ", ".join(dict.fromkeys(table["selection"])),
        "budget": f"{_one_or_range(table['max_steps'])} steps of {_one_or_range(table['images_per_step'])} images",
        "scores": markdown(display_scores(table, BASELINE)), "costs": markdown(display_costs(table, BASELINE)),
        "equal_domains": _equal_domains(file), "marks": " ".join(setting_notes(table)),
        "classes": classes_note(rows),
        "overrides": _overrides(rows), "saw_weather": _saw_weather(file), "mixing": _mixing(file),
        "earlier_generator": file.earlier_generator(shipped),
    }


def _targets(file: RecordFile) -> list[str]:
    rows = file.records
    return list(dict.fromkeys(rows.loc[(rows["role"] == "target") & (rows["domain"] != UNSEEN_MEAN), "domain"]))


def _equal_domains(file: RecordFile) -> str:
    """Return the gains over naive mixing of the same pseudo domains, if the grid has several choices of them."""
    gains = gains_at_equal_domains(file.records, metric=file.metric, confidence=file.facts["confidence"])
    return "" if gains.empty else markdown(display_equal_domains(gains))


def _saw_weather(file: RecordFile) -> dict[str, list[str]]:
    """Return the embedded models that were trained on streets in every weather -> the rows that use them."""
    rows = {"the diffusion model": file.generated_rows, "the teacher": file.taught_rows}
    return {model: users for model, users in rows.items() if users}


def _mixing(file: RecordFile) -> str:
    """Return how mixed batches were drawn; "" if no row sees pseudo images."""
    if not file.mixes_pseudo_images:
        return ""
    share = file.facts["parameters"].get("training", {}).get("source_share")
    return ("Mixed batches draw every source and every pseudo image equally often." if share is None else
            f"Of the source and pseudo images of mixed batches {share:.0%} are source images.".replace("%", " %"))


def _overrides(records: pd.DataFrame) -> dict[str, str]:
    """Return row -> its changes as JSON, for the rows that change anything."""
    if "overrides" not in records:
        return {}
    first = records.groupby("method", sort=False)["overrides"].first()
    return {str(name): str(text) for name, text in first.items() if text != "{}"}


def _one_or_range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _written(task: str) -> str:
    return task.replace("_", " ")


def readme_block(files: list[RecordFile], shipped: str) -> str:
    """Return the README's tables: see ``_headlines``."""
    sections = [_section(file, shipped) for file in _shown(files, shipped)]
    counts = {len(section["targets"]) for section in sections}
    return open_template("dg_project.reports", "results_readme.md.j2", keep_trailing_newline=True).render(
        sections=sections, **_headlines(files, shipped),
        domains=f"{_count(*counts)} unseen domains" if len(counts) == 1 else "unseen domains",
        sources=_distinct(section["source"] for section in sections),
        rules=_distinct(section["rules"] for section in sections),
        earlier=[section["task"] for section in sections if section["earlier_generator"]])


def _shown(files: list[RecordFile], shipped: str) -> list[RecordFile]:
    """Return one record file per task: the first benchmark, by name, that has DRSF; current ones precede superseded."""
    tasks: dict[str, RecordFile] = {}
    for file in sorted(files, key=lambda file: (file.is_superseded(shipped), file.name)):
        if file.facts["pipeline"] == "benchmark" and METHOD in file.table.index and not file.on_photographs:
            tasks.setdefault(file.task, file)
    return [tasks[task] for task in get_args(Task) if task in tasks]


def _headlines(files: list[RecordFile], shipped: str) -> dict[str, str]:
    """Return the tables of unseen means of the ``HEADLINE`` rows: of rendered streets, and of photographs."""
    shown = _shown(files, shipped)
    photographs = [file for file in files if file.on_photographs and not file.is_superseded(shipped)]
    return {"table": markdown(_headline_table(shown)) if shown else "",
            "photographs": markdown(_photographs_table(photographs)) if photographs else ""}


def _headline_table(files: list[RecordFile]) -> pd.DataFrame:
    """Return the unseen means of the headline rows, and the gain of DRSF over naive mixing, as text."""
    columns = {f"{_written(file.task)}, {file.metric}": [*_headline(file), _gain_of_method(file, gain_over(MIXING))]
               for file in files}
    return pd.DataFrame(columns, index=pd.Index([*HEADLINE, f"gain of {METHOD} over {MIXING}"], name="method"))


def _photographs_table(files: list[RecordFile]) -> pd.DataFrame:
    """Return the unseen means of the headline rows, and the gain of DRSF over ERM, as text; one row per record file."""
    rows = {f"{file.name}: {_written(file.task)}, {file.metric}": [*_headline(file), _gain_of_method(file, "gain"),
                                                                   _one_or_range(file.table["n_seeds"])]
            for file in files}
    columns = [*HEADLINE, f"gain of {METHOD} over {BASELINE}", "seeds"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("record")


def _headline(file: RecordFile) -> list[str]:
    rows = file.table.to_dict("index")
    return [mean_and_half_width(rows[name][UNSEEN_MEAN], rows[name][f"{UNSEEN_MEAN}_high"])
            if name in rows else MISSING for name in HEADLINE]


def _gain_of_method(file: RecordFile, column: str) -> str:
    row = file.table.to_dict("index").get(METHOD, {})
    return gain_and_interval(*(row[f"{column}{end}"] for end in ("", "_low", "_high"))) if column in row else MISSING


def _count(number: int) -> str:
    return COUNTS[number] if number < len(COUNTS) else str(number)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def with_block(text: str, block: str, name: str = README.name) -> str:
    """Return a page with the block between its markers.

    Raises:
        DataError: the markers are missing.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise DataError(f"{name} needs the lines '{BEGIN}' and '{END}' once each, around the table of results")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block.strip()}\n{END}{rest.split(END)[1]}"


def write(root: Path) -> None:
    """Write the pages and the charts that they show."""
    for path, text in render(root).items():
        with atomic_file(root / path) as aside:
            aside.write_text(text)
        logger.info("wrote %s", path)
    for file in read_record_files(root / RECORDS):
        with atomic_file(root / IMAGES / f"results_{file.name}.png") as aside:
            file.chart().savefig(aside)
    for one in read_maps(root):
        with atomic_file(root / IMAGES / f"regime_{one.name}.png") as aside:
            regime_chart(one.table).savefig(aside)


def main(arguments: list[str] | None = None, root: Path | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m dg_project.reports.results_page",
                                     description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--record", metavar="NAME", help="first copy the records of a run to "
                                                         "benchmarks/results/NAME.csv")
    parser.add_argument("--of", choices=[*ARTIFACTS, REGIME], default="benchmark",
                        help="pipeline whose records are copied")
    parser.add_argument("--run", metavar="VERSION", help="version of the run, such as "
                                                         "2026-11-30T17.08.26.368Z; without it, the newest")
    parser.add_argument("--title", help="heading of a new record's section; without it, its name in words")
    options = parser.parse_args(arguments)
    project = root or Path.cwd()

    def work() -> None:
        if options.record and options.of == REGIME:
            logger.info("recorded %s", add_map(project, options.record, options.title, options.run))
        elif options.record:
            logger.info("recorded %s", add_record_file(project, options.record, options.of, options.title, options.run))
        write(project)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
