"""What a run knows about itself: its parameters, its id, the versions that it reads, the model that it uses."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.config import Params, Settings
from dg_project.config.grids import merged
from dg_project.config.paths import ENVIRONMENT_VARIABLE, OWN_ENVIRONMENT, ROOT_VARIABLE, locate_settings
from dg_project.core.errors import CheckpointError, ParameterError, nearest
from dg_project.core.nested import flatten

FACTS = "params:run_facts"

logger = logging.getLogger(__name__)


class SettingsHook:
    """Parses the parameters once and gives them to the nodes.

    ``params:settings`` is the typed :class:`Settings` with every path located, each ``params:...`` is the part of it
    with that name, ``parameters`` is everything as it was given, ``params:run_id`` is the version of all that the
    run saves, and ``params:run_facts`` is what the report says about the run: see ``run_facts``.
    """

    def __init__(self) -> None:
        self._given: Settings | None = None
        self._context: Any = None

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: Any) -> None:
        """Parse ``conf/**/parameters*``, the presets of the requested pipelines and ``--params``.

        Raises:
            ParameterError: there is no such pipeline, or one line per wrong or unknown key with the nearest valid one.
        """
        from dg_project.pipelines.sums import PRESETS

        os.environ[ROOT_VARIABLE] = str(context.project_path)
        os.environ[ENVIRONMENT_VARIABLE] = context.env or OWN_ENVIRONMENT
        presets: dict[str, Any] = {}
        for name in _requested_pipelines():
            presets = merged(presets, PRESETS.get(name, {}))
        context.config_loader.runtime_params = merged(presets, context.config_loader.runtime_params or {})
        parameters = context.config_loader["parameters"]
        context.config_loader["parameters"] = parameters  # Kedro asks again, and reading the files takes time
        self._given, self._context = parse_parameters(parameters), context

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Collect the facts of a run that writes a report."""
        if FACTS in pipeline.inputs() and self._given is not None:
            catalog[FACTS] = {**run_facts(self._context, run_params, pipeline, self._given),
                              "places": {name: _place(name, catalog, self._context) for name in ("model", "results")}}

    @hook_impl
    def after_catalog_created(self, catalog: Any, save_version: str | None) -> None:
        """Put the parameters into the catalog; outside a run (a notebook, Kedro-Viz) there is no version."""
        from kedro.io import MemoryDataset

        catalog["params:run_id"] = save_version or "none"
        catalog[FACTS] = {}
        if self._given is None:
            return
        settings = locate_settings(self._given)
        catalog["params:settings"] = MemoryDataset(settings, copy_mode="assign")
        catalog.get("parameters").save(self._given.model_dump(mode="json"))
        for name in [name for name in catalog.keys() if name.startswith("params:")]:  # noqa: SIM118 (not a mapping)
            value = _at(settings, name.removeprefix("params:").split("."))
            if value is not None:
                catalog.get(name).save(value)


def run_facts(context: Any, run_params: dict[str, Any], pipeline: Any, settings: Settings) -> dict[str, Any]:
    """Return the command of a run, its parameters that differ from ``conf/base``, and the groups that it reads.

    Returns:
        ``command``, ``changed`` (dotted path, value, value in ``conf/base`` or None) and ``read`` (names of groups).
    """
    loader = context.config_loader
    base = type(loader)(loader.conf_source, env=loader.base_env, base_env=loader.base_env,
                        default_run_env=loader.base_env)["parameters"]
    given, known = flatten(dict(loader["parameters"])), flatten(dict(base))
    changed = [(path, value, known.get(path)) for path, value in given.items() if value != known.get(path)]
    return {"command": _command(run_params), "changed": changed, "read": _groups_read(pipeline, settings)}


def _place(name: str, catalog: Any, context: Any) -> str:
    """Return the folder of an artifact's versions, relative to the project."""
    folder = Path(catalog.get(name)._filepath)
    return str(folder.relative_to(context.project_path) if folder.is_relative_to(context.project_path) else folder)


def _command(run_params: dict[str, Any]) -> str:
    names, env, changes = (run_params.get(name) for name in ("pipeline_names", "env", "runtime_params"))
    given = ",".join(f"{path}={value}" for path, value in flatten(changes).items()) if changes else ""
    return " ".join(["kedro run", *([f"--pipeline={','.join(names)}"] if names else []),
                     *([f"--env={env}"] if env else []), *([f"--params={given}"] if given else [])])


def _groups_read(pipeline: Any, settings: Settings) -> list[str]:
    """Return the groups that are inputs; nodes that get all settings read the task, the network and the methods."""
    from dg_project.pipelines.trainings import trainings

    inputs = {name.removeprefix("params:").partition(".")[0] for name in pipeline.inputs()}
    return sorted(inputs | {"task", "method", "seed", "data", "backbone", "training", settings.task}
                  | {training.method for training in trainings(pipeline, settings)})


def read_settings(raw: dict[str, Any]) -> Settings:
    """Return merged parameters typed and with every path located, as nodes get them."""
    return locate_settings(parse_parameters(raw))


def parse_parameters(raw: dict[str, Any]) -> Settings:
    """Check merged parameters with the classes of the project, its methods and its readers; return them typed.

    Misspelt names are told at once; the classes of methods need torch, which is imported after that.
    """
    from dg_project.config import check_names, check_parameters
    from dg_project.config.method_names import method_parameters

    parsed = check_names(raw, method_parameters())
    from dg_project.data.readers import READERS
    from dg_project.methods import method_classes

    return check_parameters(raw, {name: method.Params for name, method in method_classes().items()},
                            {name: reader.Options for name, reader in READERS.items()}, parsed)


def _requested_pipelines() -> list[str]:
    """Return the names given to ``--pipelines``; Kedro stores them before it creates the context."""
    from kedro.framework.project import pipelines

    names = list(pipelines._requested_pipelines or [])
    for name in names:
        if name not in pipelines:
            raise ParameterError(f"there is no pipeline '{name}'.{nearest(name, pipelines)} The pipelines are: "
                                 f"{', '.join(sorted(set(pipelines) - {'__default__'}))}")
    return names


def _at(tree: Any, path: list[str]) -> Any:
    """Return the value at a path through models and mappings, or None if there is none."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else getattr(tree, key, None)
    return tree


class PinRunVersionsHook:
    """Makes a run read back what it wrote.

    A versioned dataset loads the newest version on disk; in a worker process that may be the version of another run.
    """

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Set the load version of everything that this run writes to its save version."""
        if not run_params.get("only_missing_outputs"):  # these runs read what earlier runs wrote
            pin_written(pipeline, catalog)


def pin_written(pipeline: Any, catalog: Any) -> None:
    """Set the load version of everything that the pipeline writes to its save version."""
    for name in pipeline.all_outputs():
        version = getattr(catalog.get(name), "_version", None)
        if version and version.save and not version.load:
            _pin(catalog.get(name), version.save)


def pin_read(pipeline: Any, catalog: Any) -> None:
    """Set the load version of everything that the pipeline reads and does not write to the newest one on disk."""
    for name in pipeline.inputs():
        version = getattr(catalog.get(name), "_version", None)
        if version and not version.load:
            _pin(catalog.get(name), catalog.get(name).resolve_load_version())


def _pin(dataset: Any, load: str) -> None:
    from kedro.io import Version

    dataset._version = Version(load, dataset._version.save)


class ChosenModelHook:
    """Lets a pipeline load a trained model from a folder outside the catalog, and says which model it uses."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Point the input ``model`` to the folder that the pipeline's parameters name (``predict.model``).

        Raises:
            CheckpointError: the folder holds no trained model.
        """
        inputs = pipeline.inputs()
        if "model" not in inputs:
            return
        for name in sorted(inputs):
            group = catalog.load(name) if name.startswith("params:") else None
            chosen = getattr(group, "model", None) if isinstance(group, Params) else None
            if chosen is not None:
                catalog["model"] = _model_dataset(f"{name.removeprefix('params:')}.model", chosen)
        if catalog.exists("model"):  # else the checks say what makes it
            _tell(catalog.load("model"))


def _tell(model: Path) -> None:
    """Log which model is used, and warn about one that may not be meant."""
    from dg_project.methods.model_choice import describe_model, doubts

    logger.info("model: %s", describe_model(model))
    if doubt := doubts(model, os.environ[ENVIRONMENT_VARIABLE]):
        logger.warning("%s", doubt)


def _model_dataset(parameter: str, chosen: str) -> Any:
    """Return the dataset of a model folder, or of the newest version in a folder of versions."""
    from kedro.io import Version

    from dg_project.datasets.model import ModelDataset

    folder = Path(chosen)
    plain = (folder / "model.json").is_file()
    dataset = ModelDataset(filepath=folder, version=None if plain else Version(None, None))
    if not plain and not dataset.exists():
        raise CheckpointError(f"{parameter}: '{folder}' holds no trained model; give a folder with 'model.json' and "
                              "'model.safetensors', or one that the catalog keeps versions in (data/06_models/model)")
    return dataset
