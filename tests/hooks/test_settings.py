"""The parameters of a run are parsed once, with the presets of its pipelines, and given to the nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks import hook_impl
from pipelines.conftest import Project, database, project, quiet_environment, template  # noqa: F401

from dg_project.core.errors import ParameterError
from dg_project.hooks import run_context


class Stopped(Exception):  # noqa: N818
    """Ends a run before its first node."""


class Stop:
    """Keeps the catalog and ends the run."""

    catalog: Any = None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, catalog: Any) -> None:
        self.catalog = catalog
        raise Stopped


def catalog(project: Project, *pipelines: str, **parameters: Any) -> Any:  # noqa: F811
    """The catalog that a run of these pipelines starts with."""
    stop = Stop()
    with project.session(**parameters) as session:
        session._hook_manager.register(stop)
        with pytest.raises(Stopped):
            session.run(pipeline_names=list(pipelines))
    return stop.catalog


def test_catalog_holds_one_located_object(project: Project) -> None:  # noqa: F811
    loaded = catalog(project, "drsf")
    settings = loaded.load("params:settings")
    assert settings is loaded.load("params:settings")
    assert settings.data.root == str(project.root / "data/01_raw/streets")
    assert loaded.load("params:data") == settings.data
    assert loaded.load("params:ldm.checkpoint") == settings.ldm.checkpoint == str(
        project.root / "data/06_models/tiny_ldm")
    assert loaded.load("params:scmd") is not None
    assert loaded.load("params:scmd") == settings.methods["scmd"]
    assert loaded.load("parameters")["data"]["root"] == "data/01_raw/streets"
    assert Path(settings.workspace) == project.data / ".workspace"


def test_presets_of_a_pipeline_and_params_after_them(project: Project) -> None:  # noqa: F811
    settings = catalog(project, "scmd").load("params:settings")
    assert (settings.task, settings.method, settings.training.images_per_step) == ("classification", "scmd", 32)
    settings = catalog(project, "scmd", training={"images_per_step": 8}).load("params:settings")
    assert (settings.task, settings.method, settings.training.images_per_step) == ("classification", "scmd", 8)
    settings = catalog(project, "diga").load("params:settings")
    assert (settings.task, settings.uda.method, settings.uda.baseline) == ("segmentation", "diga", "diga_warmup")
    assert catalog(project, "drsf").load("params:settings").task == "detection"


def test_unknown_pipeline_is_answered_with_all_names(project: Project) -> None:  # noqa: F811
    with pytest.raises(ParameterError, match=r"no pipeline 'drfs'\. Did you mean 'drsf'\? The pipelines are: ablation, "
                                             r"benchmark, .*, uda"):
        project.run("drfs")


def test_read_settings_types_every_method() -> None:
    from kedro.config import OmegaConfigLoader

    from dg_project.methods import method_classes
    from dg_project.settings import CONFIG_LOADER_ARGS

    conf = Path(__file__).parents[2] / "conf"
    raw = OmegaConfigLoader(conf_source=str(conf), env="base", **CONFIG_LOADER_ARGS)["parameters"]
    settings = run_context.read_settings(dict(raw))
    assert {name: type(own) for name, own in settings.methods.items()} == {
        name: kind.Params for name, kind in method_classes().items()}
