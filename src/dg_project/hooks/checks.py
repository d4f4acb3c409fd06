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
        from dg_project.methods import method_classes
        from dg_project.pipelines.trainings import trainings

        inputs = pipeline.inputs()
        _check_inputs(inputs, catalog)
        settings = catalog.load("params:settings")
        if "params:synthesis" in inputs:
            from dg_project.pseudo.generators.opening import check_generator

            check_generator(settings)
        if "regime_models" in pipeline.all_outputs():
            _check_qualities(settings)
        for name in sorted(method_classes().keys() & {name.removeprefix("params:") for name in inputs}):
            method_classes()[name].check(settings.methods[name], settings)
        _check_trainings(trainings(pipeline, settings), settings)
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


def _check_trainings(planned: list[Training], settings: Settings) -> None:
    """Check data, domains, method and network of every training."""
    from dg_project.config.grids import check_domains
    from dg_project.experiments.closed_loop.planning import check_generator
    from dg_project.experiments.training_run import check_parts
    from dg_project.methods import method_class
    from dg_project.pipelines.trainings import FOLDS

    for training in planned:
        _check_targets(training, settings)
    for grid in sorted({training.study for training in planned if training.study} - {FOLDS}):
        check_domains(grid, getattr(settings, grid).chosen_rows, settings.synthesis.domains)
    for training in planned:
        kind = method_class(training.method)
        kind.check(kind.params_of(training.settings), training.settings)
        if training.study == FOLDS:
            _check_fold_images(training)
        if training.in_rounds:
            check_generator(training.settings.synthesis)
            check_parts(kind, training.settings)
        _check_network(training)


def _check_qualities(settings: Settings) -> None:
    """Check that there is something to compare, and that the generator of every quality can make it."""
    from dg_project.experiments.regime import reference_images
    from dg_project.pseudo.generators.opening import check_generator

    if not settings.regime.qualities:
        raise ParameterError("regime.qualities is empty: name at least one, such as as_is: {}")
    reference_images(settings.regime.reference or [])
    for name in settings.regime.qualities:
        check_generator(settings.with_quality(name))


def _check_targets(training: Training, settings: Settings) -> None:
    """Check that a UDA method gets unlabelled target images."""
    from dg_project.methods import method_class

    if not method_class(training.method).needs.unlabelled_targets:
        return
    if not training.adapts:
        raise ParameterError(f"the method '{training.method}' adapts to unlabelled target images, which this pipeline "
                             f"never opens: kedro run --pipeline=uda --params uda.method={training.method}")
    if training.study and settings.data.adapt_split is None:
        raise ParameterError(f"{training.study}: '{training.method}' adapts to unlabelled target images; name their "
                             "split with data.adapt_split (Streets calls it adapt)")


def _check_fold_images(training: Training) -> None:
    """Check that the generator can make the pseudo images of a fold."""
    from dg_project.experiments.fold_generation import trains_on_pseudo_images
    from dg_project.pseudo.generators.opening import check_generator

    if trains_on_pseudo_images(training.method, training.settings):
        check_generator(training.settings)


def _check_network(training: Training) -> None:
    """Build the network: a wrong backbone, stage or number of domains stops the run here. A dry run does it later."""
    from dg_project.core.device import check_compiler, resolve_device
    from dg_project.experiments.training_run import untrained_spec
    from dg_project.methods.model_folder import build_method
    from dg_project.pipelines.trainings import FOLDS

    settings = training.settings
    if settings.training.compile:
        check_compiler(resolve_device(settings.training.device))
    fetched = settings.backbone.name.startswith("hf-hub:")  # when it is needed
    if training.study != FOLDS and not settings.dry_run and not fetched:
        build_method(untrained_spec(training.method, settings), settings.seed)
