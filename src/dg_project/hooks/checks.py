"""Everything a run needs is looked for before its first node starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from dg_project.core.errors import DataError, ParameterError

if TYPE_CHECKING:
    from dg_project.config import Settings


_STAGES = ["pretrain_ldm", "ingestion", "synthesis", "sampling", "training", "closed_loop", "evaluation", "reporting",
           "benchmark", "ablation", "uda", "pretrain_teacher", "scmd", "domainfusion", "leave_one_out", "predict",
           "export", "target_oracle"]


class PreflightHook:
    """Free inputs must have been made by an earlier run, and the generators' checkpoints must be there."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Look for the free inputs of the pipeline.

        Raises:
            DataError: an input was never made; the message names the pipeline that makes it.
            CheckpointError: a checkpoint is missing, or cannot do what the parameters ask of it.
            ParameterError: parameters that exclude one another for this checkpoint or on this machine.
        """
        missing = [name for name in sorted(pipeline.inputs()) if not _available(catalog, name)]
        if missing:
            makers = sorted({_maker(catalog, name) for name in missing}, key=_STAGES.index)
            commands = " && ".join(f"kedro run --pipeline={maker}" for maker in makers)
            raise DataError(f"{', '.join(repr(name) for name in missing)} was never made in this project; "
                            f"run this first: {commands}")
        if "params:ldm" in pipeline.inputs() and "params:synthesis" in pipeline.inputs():
            _check_checkpoint(catalog.load("params:ldm"), catalog.load("params:training.device"),
                              catalog.load("params:synthesis").domains)
        if "params:scmd" in pipeline.inputs():
            _check_teacher(catalog.load("params:scmd"), catalog.load("params:data").classes)
        if "parameters" in pipeline.inputs():
            _check_adaptation(catalog.load("parameters"), pipeline.nodes)
            _check_tasks(catalog.load("parameters"), pipeline.nodes)
            _check_folds(catalog.load("parameters"), pipeline.nodes)
        if "params:sampling" in pipeline.inputs():
            _check_clip(catalog.load("params:sampling").gate.clip)


def _available(catalog: Any, name: str) -> bool:
    return name.startswith("params:") or name == "parameters" or catalog.exists(name)


def _maker(catalog: Any, name: str) -> str:
    return catalog.get(name).metadata["made_by"]


def _check_checkpoint(params: Any, device: str, domains: Any) -> None:
    """Look at JSON files and headers only: opening takes time, and a hub name is fetched when it is needed."""
    from dg_project.core.device import resolve_device
    from dg_project.diffusion.opening import check, check_strengths, choose_mode
    from dg_project.pipelines.paths import locate_ldm

    checkpoint = check(locate_ldm(params), resolve_device(device))
    mode = params.mode if checkpoint is None else choose_mode(params, checkpoint).name
    check_strengths(mode, domains)


def _check_adaptation(parameters: dict[str, Any], nodes: Any) -> None:
    """A method that adapts must not find out after hours that there is nothing to adapt to."""
    stages = {node.name.rsplit(".", 1)[-1]: node for node in nodes}
    if not stages.keys() & {"train_method", "train_cells"}:
        return
    from dg_project.methods import method_classes
    from dg_project.pipelines.paths import read_parameters

    settings = read_parameters(parameters)
    adapting = [name for name, method in method_classes().items() if method.needs.unlabelled_targets]
    if "train_method" in stages and "adapt_manifest" not in stages["train_method"].inputs \
            and settings.method in adapting:
        raise ParameterError(f"the method '{settings.method}' adapts to unlabelled target images, which this pipeline "
                             f"never opens: kedro run --pipeline=uda --params uda.method={settings.method}")
    grids = ["benchmark", "ablation"] if settings.data.adapt_split is None and "train_cells" in stages else []
    for grid in grids:
        needy = [name for name, row in getattr(settings, grid).chosen_rows.items() if row.method in adapting]
        if needy and f"params:{grid}" in stages["train_cells"].inputs:
            raise ParameterError(f"{grid}: '{needy[0]}' adapts to unlabelled target images; name their split with "
                                 "data.adapt_split (Streets calls it adapt)")


def _check_tasks(parameters: dict[str, Any], nodes: Any) -> None:
    """A method that is not made for the task must not find that out after the pseudo images."""
    stages = {node.name.rsplit(".", 1)[-1]: node for node in nodes}
    if not stages.keys() & {"train_method", "train_cells"}:
        return
    from dg_project.config.grids import check_domains
    from dg_project.experiments.training_run import check_parts
    from dg_project.methods import method_class
    from dg_project.pipelines.paths import read_parameters

    settings = read_parameters(parameters)
    if "train_cells" in stages:
        inputs = stages["train_cells"].inputs
        grids = {name: getattr(settings, name).chosen_rows for name in ("benchmark", "ablation")
                 if f"params:{name}" in inputs}
        for grid, rows in grids.items():
            check_domains(grid, rows, settings.synthesis.domains)
        chosen = [(row, settings.with_row(row, settings.seed)) for rows in grids.values() for row in rows.values()]
        trained = [(row.method, own) for row, own in chosen]
        in_parts = [(row.method, own) for row, own in chosen if row.loop == "closed"]
    else:
        adapting = "adapt_manifest" in stages["train_method"].inputs
        methods = [settings.uda.baseline, settings.uda.method] if adapting else [settings.method]
        trained = [(method, settings) for method in methods]
        in_parts = [(settings.method, settings)] if "train_in_rounds" in stages else []
    for method, own in trained:
        kind = method_class(method)
        kind.check(kind.params_of(own), own)
    for method, own in in_parts:
        check_parts(method_class(method), own)
    for method, own in trained:
        _check_network(method, own)


def _check_network(method: str, settings: Settings) -> None:
    """A backbone, stage or number of domains that a method cannot use must not show after the pseudo images."""
    from dg_project.experiments.training_run import untrained_spec
    from dg_project.methods.model_folder import build_method

    if settings.backbone.name.startswith("hf-hub:"):  # its architecture is fetched when it is needed
        return
    build_method(untrained_spec(method, settings), settings.seed)


def _check_folds(parameters: dict[str, Any], nodes: Any) -> None:
    """A method that asks the diffusion model must not find out after the baseline that it cannot."""
    if not any(node.name.endswith("train_folds") for node in nodes):
        return
    from dg_project.experiments.leave_one_out import chosen_methods, layout
    from dg_project.methods import method_class
    from dg_project.pipelines.paths import locate, read_parameters

    settings = read_parameters(parameters)
    chosen = chosen_methods(settings.leave_one_out, settings.method)
    classes = layout(locate(settings.data.root), settings.leave_one_out)[1]
    data = settings.data.model_copy(update={"classes": classes})
    own = settings.model_copy(update={"task": "classification", "data": data})
    for name in chosen:
        method_class(name).check(method_class(name).params_of(own), own)


def _check_clip(name: str | None) -> None:
    from dg_project.pipelines.paths import locate_checkpoint

    if name is not None:
        from dg_project.vlm.clip import check_clip

        check_clip(locate_checkpoint(name))


def _check_teacher(params: dict[str, Any], classes: list[str]) -> None:
    """Open the teacher with the prompts: it takes a second, and reading the data takes longer."""
    from dg_project.methods.scmd import Guide, SCMDParams
    from dg_project.pipelines.paths import locate_checkpoint

    known = SCMDParams.model_validate(params)
    located = known.model_copy(update={"teacher": locate_checkpoint(known.teacher)})
    Guide(located, classes)


class PipelineParametersHook:
    """Lays ``pipelines.<name>`` over the other parameters of a run; ``--params`` has the last word."""

    def __init__(self) -> None:
        self._loader: Any = None

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the loader; which pipelines run is not known yet."""
        self._loader = context.config_loader

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Change the parameters in the loader (which tracking reads) and in the catalog (which nodes read).

        Raises:
            ParameterError: the changed parameters do not fit together.
        """
        own: dict[str, Any] = {}
        for name in run_params.get("pipeline_names") or []:
            own = merged(own, self._loader["parameters"].get("pipelines", {}).get(name, {}))
        if not own:
            return

        self._loader.runtime_params = merged(own, self._loader.runtime_params or {})
        changed = self._loader["parameters"]
        check_all(changed)
        everything = dict(catalog.load("parameters"))
        for key in own:
            everything[key] = _like(everything.get(key), changed[key])
        catalog["parameters"] = everything
        for name in [name for name in catalog.keys() if name.startswith("params:")]:  # noqa: SIM118 (no mapping)
            path = name.removeprefix("params:").split(".")
            if path[0] in own:
                catalog[name] = _like(catalog.load(name), _at(changed, path))


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of ``above``, group by group.

    >>> merged({"training": {"lr": 1, "flip": 0}}, {"training": {"lr": 2}})
    {'training': {'lr': 2, 'flip': 0}}
    """
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def _at(tree: Any, path: list[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _like(before: Any, value: Any) -> Any:
    """Give a value the type that a node's signature gave the old one."""
    return type(before).model_validate(value) if hasattr(before, "model_validate") else value


class ParametersHook:
    """Checks all parameters at once, those of every method included."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: Any) -> None:
        """Check ``conf/**/parameters*.yml`` merged with ``--params``.

        Raises:
            ParameterError: one line per wrong or unknown key, naming the nearest valid one.
        """
        from dg_project.pipelines.paths import ROOT_VARIABLE

        os.environ[ROOT_VARIABLE] = str(context.project_path)
        check_all(context.config_loader["parameters"])


def check_all(raw: dict[str, Any]) -> None:
    """Check merged parameters against the schemas of the project, its methods and its readers."""
    from dg_project.config import check_parameters
    from dg_project.data.readers import READERS
    from dg_project.methods import method_classes

    check_parameters(raw, {name: method.Params for name, method in method_classes().items()},
                     {name: reader.Options for name, reader in READERS.items()})
