"""Read and add record files: records of a grid as CSV in ``benchmarks/results``, and the facts of its run as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dg_project.config.grids import BASELINE
from dg_project.core.errors import DataError
from dg_project.core.files import atomic_file
from dg_project.evaluation.records import check_records
from dg_project.evaluation.scorers import main_metric
from dg_project.evaluation.table import benchmark_table, with_groups
from dg_project.figures.benchmark_chart import records_chart

logger = logging.getLogger(__name__)

RECORDS = Path("benchmarks") / "results"
OUTPUTS = Path("data") / "07_model_output"
GAINS_OVER = ("naive", "cdga", "mic", "mic_pseudo", "diga_warmup", "diga")
"""Rows that gains are also taken against, next to the baseline."""
TINY_LDM, CLIP_LIKE = "tiny_ldm", "clip_like"
RENDERED = ("streets", "street_crops")
"""Folders of the embedded images; records of other folders are of photographs and drawings."""
LEAVE_ONE_OUT = "leave_one_out"
ARTIFACTS = {"benchmark": "benchmark", "ablation": "ablation", "headroom": "headroom", LEAVE_ONE_OUT: "left_out"}
"""Pipelines whose records can be added, and the prefix of their artifacts."""


@dataclass(frozen=True)
class RecordFile:
    """Records of one grid of methods and seeds, and the facts of how they were made.

    Attributes:
        name: file name without its suffix.
        records: ``RECORD_COLUMNS`` and the columns of costs and origin.
        facts: ``pipeline, run, commit, dirty, hardware, versions, confidence, parameters``, and ``generator``, the
            fingerprint of the diffusion model's weights; ``title``, if it has one.
    """

    name: str
    records: pd.DataFrame
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        for column in ("task",) if self.leaves_one_out else ("task", "source"):
            if (values := self.records[column].unique()).size != 1:
                raise DataError(f"benchmarks/results/{self.name}.csv holds records of several values of '{column}' "
                                f"({', '.join(map(str, values))}); export one file for each")

    @property
    def title(self) -> str:
        """Heading of its section."""
        return title_of(self.name, self.facts)

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.records["task"].iloc[0])

    @property
    def leaves_one_out(self) -> bool:
        """Whether every domain was left out in turn, so that each has its own sources."""
        return bool(self.facts["pipeline"] == LEAVE_ONE_OUT)

    @property
    def source(self) -> str:
        """The labelled domains."""
        return "the other domains" if self.leaves_one_out else str(self.records["source"].iloc[0])

    @property
    def on_photographs(self) -> bool:
        """Whether the images are not the embedded, rendered ones."""
        return self._folder_name("data", "root") not in ("", *RENDERED)

    @cached_property
    def grouped_records(self) -> pd.DataFrame:
        """The records, with the means over the groups of domains that the run names."""
        return with_groups(self.records, self.facts["parameters"].get("evaluation", {}).get("groups", {}))

    @property
    def metric(self) -> str:
        """Main metric of the task."""
        return main_metric(self.records["task"].iloc[0])

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per method, with gains over ERM and ``GAINS_OVER``."""
        return benchmark_table(self.grouped_records, metric=self.metric, baseline=BASELINE, also=GAINS_OVER,
                               confidence=self.facts["confidence"])

    @property
    def generated_rows(self) -> list[str]:
        """Rows that the embedded diffusion model generated images for."""
        other = self.facts["parameters"].get("synthesis", {}).get("generator", "ldm") != "ldm"
        embedded = not other and self._folder_name("ldm", "checkpoint") == TINY_LDM
        return [str(name) for name in self.table.index[self.table["images_generated"] > 0] if embedded]

    @property
    def taught_rows(self) -> list[str]:
        """Rows that learned from the embedded CLIP-like teacher."""
        embedded = self._folder_name("scmd", "teacher") == CLIP_LIKE
        return [str(name) for name in self.table.index if embedded and name == "scmd"]

    @property
    def mixes_pseudo_images(self) -> bool:
        """Whether any row was trained on generated images."""
        return bool((self.table["images_generated"] > 0).any())

    def earlier_generator(self, shipped: str) -> bool:
        """Return whether the embedded diffusion model had other weights than ``shipped`` (a fingerprint)."""
        return bool(self.generated_rows) and self.facts.get("generator", "") != shipped

    def is_superseded(self, shipped: str) -> bool:
        """Return whether the pseudo images are of an earlier diffusion model or an earlier mix of the batches.

        Records from before ``training.source_share`` existed do not name it: every image was drawn equally often.
        """
        shared = "source_share" in self.facts["parameters"].get("training", {})
        return self.earlier_generator(shipped) or (self.mixes_pseudo_images and not shared)

    def _folder_name(self, group: str, key: str) -> str:
        return Path(str(self.facts["parameters"].get(group, {}).get(key, ""))).name

    def chart(self) -> Figure:
        """Draw the table."""
        return records_chart(self.table, self.grouped_records, metric=self.metric, baseline=BASELINE,
                             confidence=self.facts["confidence"])


def title_of(name: str, facts: dict[str, Any]) -> str:
    """Return the heading of a record: its title, or the name of its file in words."""
    return str(facts.get("title", name.replace("_", " ").capitalize()))


def read_record_files(folder: Path) -> list[RecordFile]:
    """Return the record files of a folder by name; tables without a column ``kedro_version_id`` (timings) are skipped.

    Raises:
        DataError: a file lacks columns, or its JSON file is missing.
    """
    files = []
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path)
        if "kedro_version_id" not in table:
            continue
        facts = path.with_suffix(".json")
        if not facts.is_file():
            raise DataError(f"'{path}' has no '{facts.name}' next to it, which says how it was made; export it again "
                            f'with `make results ARGS="--record {path.stem}"`')
        files.append(RecordFile(path.stem, check_records(table, str(path)), json.loads(facts.read_text())))
    return files


def add_record_file(root: Path, name: str, pipeline: str, title: str | None = None, run: str | None = None) -> Path:
    """Copy the records of a pipeline, and the facts of the run that wrote them.

    Args:
        root: project folder.
        name: name of the record file; an existing one is replaced.
        pipeline: a key of ``ARTIFACTS``.
        title: heading of its section; None: that of the file that is replaced, or the name in words.
        run: version of the run; None is the newest.

    Returns:
        Path of the CSV file.

    Raises:
        DataError: see ``made_by`` and ``write_record``.
    """
    prefix = ARTIFACTS[pipeline]
    made, facts = made_by(root, pipeline, OUTPUTS / f"{prefix}_records.csv", OUTPUTS / f"{prefix}_facts.json", run)
    new = RecordFile(name, check_records(pd.read_csv(made), str(made)), facts)
    logger.info("run %s: %s, source %s, %d rows, %d seeds", facts["run"], new.task, new.source,
                new.records["method"].nunique(), new.records["seed"].nunique())
    return write_record(root / RECORDS / f"{name}.csv", new.records, facts, title, kept=("task", "source"))


def made_by(root: Path, pipeline: str, table: Path, facts: Path, run: str | None) -> tuple[Path, dict[str, Any]]:
    """Return the table of one run of a pipeline and the facts of that run.

    Args:
        root: project folder.
        pipeline: name of the pipeline.
        table: folder of the table's versions, below the project folder.
        facts: folder of the versions of the facts.
        run: version of the run; None is the one that began last.

    Raises:
        DataError: the pipeline, or this run of it, has no table here, or the newest table and facts are of different
            runs.
    """
    found = [sorted((root / folder).glob(f"{run or '*'}/{folder.name}")) for folder in (table, facts)]
    if not all(found):
        missing = f"no records of run {run}" if run else "no records"
        raise DataError(f"there are {missing} of the {pipeline} in '{root / table.parent}'; run "
                        f"`kedro run --pipeline={pipeline}` first")
    last = [paths[-1] for paths in found]
    if len(versions := {path.parent.name for path in last}) != 1:
        raise DataError(f"the newest records and facts of the {pipeline} are of different runs "
                        f"({', '.join(sorted(versions))}): the last run did not end; run "
                        f"`kedro run --pipeline={pipeline}` again, it resumes")
    return last[0], json.loads(last[1].read_text())


def write_record(path: Path, table: pd.DataFrame, facts: dict[str, Any], title: str | None,
                 kept: Sequence[str]) -> Path:
    """Write a table as CSV and the facts of its run as JSON; without a title, that of the file it replaces is kept.

    Raises:
        DataError: the file to be replaced has other values in the columns ``kept``.
    """
    facts_path = path.with_suffix(".json")
    if path.is_file():
        old = pd.read_csv(path)
        for column in kept:
            was, now = (", ".join(sorted(set(one[column]))) for one in (old, table))
            if was != now:
                raise DataError(f"'{path}' has the {column} '{was}', run {facts['run']} has '{now}': name the run with "
                                "`--run`, or choose another name")
    if title is None and facts_path.is_file():
        title = json.loads(facts_path.read_text()).get("title")
    with atomic_file(path) as aside:
        table.to_csv(aside, index=False, float_format="%.6g")
    with atomic_file(facts_path) as aside:
        aside.write_text(json.dumps({"title": title, **facts} if title else facts, indent=2) + "\n")
    return path
