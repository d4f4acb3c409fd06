"""``--params dry_run=true``: print the plan of a run and end before its first node."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from dg_project.core.errors import DGError

if TYPE_CHECKING:
    from dg_project.config import Settings
    from dg_project.dry_run.plan import RunPlan

logger = logging.getLogger(__name__)


class DryRunHook:
    """Checks what the run would read, make and need, after the preflight and before anything is written."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Print the plan and end the process, with status 0 if no problem was found.

        Raises:
            DGError: the problems that were found.
            SystemExit: no problem was found.
        """
        settings = catalog.load("params:settings")
        if not settings.dry_run:
            return
        plan = _plan(pipeline, settings)
        logger.info("dry run: nothing was trained, downloaded or written\n%s", plan)
        if plan.problems:
            raise DGError(f"the dry run found {len(plan.problems)} problem(s):\n  " + "\n  ".join(plan.problems))
        raise SystemExit(0)


def _plan(pipeline: Any, settings: Settings) -> RunPlan:
    from dg_project.dry_run.plan import plan_folds, plan_run
    from dg_project.pipelines.trainings import FOLDS, trainings

    root, workspace = Path(settings.data.root), Path(settings.workspace)
    planned = trainings(pipeline, settings)
    if any(training.study == FOLDS for training in planned):
        return plan_folds(settings, root, workspace)
    return plan_run(settings, settings.ldm, root, workspace, [t.method for t in planned for _ in range(t.times)],
                    synthesis="params:synthesis" in pipeline.inputs())
