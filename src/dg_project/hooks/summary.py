"""The end of a run: its result, and where the report and the model are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.core.model_versions import MODELS

RESULT = {"intervals", "gains"}
LATEST = "latest.html"
"""Copy of the newest report, next to the folder of its versions."""


class SummaryHook:
    """Says what a run found, after its last node."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Print the result of a run that compares models, the paths of report and model, and the next commands."""
        outputs = pipeline.all_outputs()
        if outputs >= RESULT:
            print("\n" + "\n".join(_lines(outputs, catalog)))  # noqa: T201


def _lines(outputs: set[str], catalog: Any) -> list[str]:
    from dg_project.reports.run_summary import summary_table, verdict

    intervals, gains = catalog.load("intervals"), catalog.load("gains")
    lines = [*summary_table(intervals, gains), "", *([told] if (told := verdict(gains)) else []),
             "Intervals are over test scenes, with one seed each: `make bench` repeats the training.", ""]
    if "report" in outputs:
        lines.append(f"report   {publish_latest(_path(catalog, 'report'))}")
    if "model" in outputs:
        model = _shown(_path(catalog, "model"))
        other = "" if MODELS in model.parents else f" --model {model}"
        lines += [f"model    {model}",
                  f"try it   dg_project predict /path/to/images{other}   (in the browser: make demo)"]
    return [*lines, "runs     make mlflow"]


def publish_latest(report: Path) -> Path:
    """Copy a report to ``latest.html`` next to its versions, replacing the last one whole; return the copy's path."""
    from dg_project.core.files import atomic_file

    latest = report.parents[2] / LATEST
    with atomic_file(latest) as aside:
        aside.write_bytes(report.read_bytes())
    return _shown(latest)


def _path(catalog: Any, name: str) -> Path:
    return Path(catalog.get(name)._get_load_path())


def _shown(path: Path) -> Path:
    """Return a path relative to the working directory if it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
