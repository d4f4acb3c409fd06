"""``--params dry_run=true``: the plan of a run is printed, and the run ends before its first node."""

from __future__ import annotations

import logging
from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.errors import DGError

logger = logging.getLogger(__name__)


class DryRunHook:
    """Looks at what the run would read, make and need. Comes after the preflight, and before anything is written."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Print the plan and leave the process, with status 0 where nothing stands in the way.

        Raises:
            DGError: the problems that were found.
            SystemExit: there are none.
        """
        parameters = catalog.load("parameters")
        if not parameters.get("dry_run"):
            return
        from dg_project.pipelines.paths import locate, locate_ldm, read_parameters
        from dg_project.rehearsal import rehearse

        settings = read_parameters(parameters)
        plan = rehearse(settings, locate_ldm(settings.ldm), locate(settings.data.root), locate(settings.workspace),
                        _trainings(pipeline, settings), synthesis="params:synthesis" in pipeline.inputs())
        logger.info("dry run: nothing was trained, downloaded or written\n%s", plan)
        if plan.problems:
            raise DGError(f"the dry run found {len(plan.problems)} problem(s):\n  " + "\n  ".join(plan.problems))
        raise SystemExit(0)


def _trainings(pipeline: Any, settings: Any) -> list[str]:
    """Return the method of every training among the nodes."""
    names = {"train_method": [settings.method], "train_baseline": ["erm"], "train_erm": ["erm"],
             "train_domainfusion": ["domainfusion"]}
    found = [method for node in pipeline.nodes for method in names.get(node._name or "", [])]
    for name in ("benchmark", "ablation"):
        if f"{name}_models" in pipeline.all_outputs():
            grid = getattr(settings, name)
            found += [row.method for row in grid.chosen_rows.values() for _ in grid.seeds]
    return found
