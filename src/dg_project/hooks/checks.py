"""Check everything that a run needs before its first node starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from dg_project.core.errors import DataError, ParameterError

if TYPE_CHECKING:
    from dg_project.config import Settings
    from dg_project.pipelines.trainings import Training


class PreflightHook:
    """Stops a run whose inputs, checkpoints or methods cannot work."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Check free inputs, checkpoints and trainings.

        Raises:
            DataError: an input was never made; the message names the pipelines that make it.
            CheckpointError: a checkpoint is missing, or cannot do what the parameters ask for.
            ParameterError: parameters that exclude one another for this checkpoint, method or machine.
        """
        from dg_project.pipelines.trainings import trainings

        _check_inputs(pipeline.inputs(), catalog)
        settings = catalog.load("params:settings")
        inputs, planned = pipeline.inputs(), trainings(pipeline, settings)
        _check_methods(planned, settings, {name.removeprefix("params:") for name in inputs})
        if "params:sampling" in inputs and settings.sampling.gate.clip is not None:
            from dg_project.vlm.clip import check_clip

            check_clip(settings.sampling.gate.clip)


def _check_inputs(inputs: Iterable[str], catalog: Any) -> None:
    missing = [name for name in sorted(inputs) if not _available(name, catalog)]
    if missing:
        commands = " && ".join(f"kedro run --pipeline={maker}" for maker in _makers(missing, catalog))
        raise DataError(f"{', '.join(repr(name) for name in missing)} was never made in this project; "
                        f"run this first: {commands}")


def _available(name: str, catalog: Any) -> bool:
    return name.startswith("params:") or name == "parameters" or catalog.exists(name)


def _makers(missing: Iterable[str], catalog: Any) -> list[str]:
    """Return the pipelines to run, in order: for each dataset the smallest that makes it, and what that one needs."""
    from kedro.framework.project import pipelines

    order = {name: number for number, name in enumerate(pipelines)}
    makers: set[str] = set()
    waiting = set(missing)
    while waiting:
        name = waiting.pop()
        found = [maker for maker, pipeline in pipelines.items() if name in pipeline.all_outputs()]
        maker = min(found, key=lambda maker: (len(pipelines[maker].nodes), order[maker]))
        if maker not in makers:
            makers.add(maker)
            waiting |= {needed for needed in pipelines[maker].inputs() if not _available(needed, catalog)}
    return sorted(makers, key=order.__getitem__)


def _check_ldm(settings: Settings) -> None:
    """Check the diffusion model by its JSON files and headers: a hub name is fetched only when it is used."""
    from dg_project.core.device import resolve_device
    from dg_project.diffusion.opening import check, check_strengths, choose_mode

    checkpoint = check(settings.ldm, resolve_device(settings.training.device))
    mode = settings.ldm.mode if checkpoint is None else choose_mode(settings.ldm, checkpoint).name
    check_strengths(mode, settings.synthesis.domains)


def _check_methods(planned: list[Training], settings: Settings, inputs: set[str]) -> None:
    """Check every training, and the methods whose parameters are an input (``params:scmd`` of its report)."""
    from dg_project.config.grids import check_domains
    from dg_project.methods import method_classes
    from dg_project.methods.base import LDMUser

    classes = method_classes()
    for training in planned:
        _check_data(training, settings, adapts=classes[training.method].adapts)
    for grid in sorted({training.study for training in planned if training.study} & {"benchmark", "ablation"}):
        check_domains(grid, getattr(settings, grid).chosen_rows, settings.synthesis.domains)
    for training in planned:
        _check_training(training)
    uses_ldm = any(issubclass(classes[training.method], LDMUser) for training in planned)
    if uses_ldm or {"ldm", "synthesis"} <= inputs:
        _check_ldm(settings)
    own = [(training.method, training.settings) for training in planned]
    for name, chosen in [*own, *((name, settings) for name in sorted(inputs & classes.keys()))]:
        _check_own(name, chosen)


def _check_data(training: Training, settings: Settings, adapts: bool) -> None:
    """Check that a method that adapts gets unlabelled target images."""
    if adapts and not training.adapts:
        raise ParameterError(f"the method '{training.method}' adapts to unlabelled target images, which this pipeline "
                             f"never opens: kedro run --pipeline=uda --params uda.method={training.method}")
    if adapts and training.study and settings.data.adapt_split is None:
        raise ParameterError(f"{training.study}: '{training.method}' adapts to unlabelled target images; name their "
                             "split with data.adapt_split (Streets calls it adapt)")


def _check_training(training: Training) -> None:
    """Check task, closed loop, backbone, stages and number of domains; a dry run finds the last three by itself."""
    from dg_project.experiments.training_run import check_parts, untrained_spec
    from dg_project.methods import method_classes
    from dg_project.methods.model_folder import build_method, check_task

    settings = training.settings
    if training.study == "leave_one_out":  # task and domains are those of the folds
        return
    check_task(training.method, settings.task)
    if training.in_rounds:
        check_parts(method_classes()[training.method], settings)
    if not settings.backbone.name.startswith("hf-hub:") and not settings.dry_run:  # hf-hub: fetched when needed
        build_method(untrained_spec(training.method, settings), settings.seed)


def _check_own(name: str, settings: Settings) -> None:
    from dg_project.methods.scmd import Guide, SCMDParams

    own = settings.methods[name]
    if isinstance(own, SCMDParams):
        Guide(own, settings.data.classes)
