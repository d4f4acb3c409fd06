"""``--params dry_run=true``: the plan of a run is printed, and the run ends before its first node."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from dg_project.core.errors import DGError

if TYPE_CHECKING:
    from dg_project.dry_run.plan import RunPlan

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
        plan = _plan(pipeline, parameters)
        logger.info("dry run: nothing was trained, downloaded or written\n%s", plan)
        if plan.problems:
            raise DGError(f"the dry run found {len(plan.problems)} problem(s):\n  " + "\n  ".join(plan.problems))
        raise SystemExit(0)


def _plan(pipeline: Any, parameters: dict[str, Any]) -> RunPlan:
    from dg_project.dry_run.plan import plan_folds, plan_run
    from dg_project.pipelines.paths import locate, locate_ldm, read_parameters

    settings = read_parameters(parameters)
    root, workspace = locate(settings.data.root), locate(settings.workspace)
    if "left_out_models" in pipeline.all_outputs():
        return plan_folds(settings, root, workspace)
    return plan_run(settings, locate_ldm(settings.ldm), root, workspace, _trainings(pipeline, settings),
                    synthesis="params:synthesis" in pipeline.inputs())


def _trainings(pipeline: Any, settings: Any) -> list[str]:
    """Return the method of every training among the nodes."""
    names = {"train_method": settings.method, "train_source_method": settings.method, "train_baseline": "erm",
             "train_in_rounds": settings.method, "train_domainfusion": "domainfusion",
             "train_adapting_method": settings.uda.method, "train_adapting_baseline": settings.uda.baseline}
    found = [names[node.func.__name__] for node in pipeline.nodes if node.func.__name__ in names]
    for name in ("benchmark", "ablation"):
        if f"{name}_models" in pipeline.all_outputs():
            grid = getattr(settings, name)
            found += [row.method for row in grid.chosen_rows.values() for _ in grid.seeds]
    return found
