"""A copy of the project with generated data and a random diffusion model: whole runs in seconds."""

from __future__ import annotations

import shutil
import sys
from copy import deepcopy
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks import hook_impl

PROJECT = Path(__file__).parents[2]


class ReadCatalogOnce:
    """Gives every session the catalog's configuration as the first one read it: the files are the same."""

    read: dict[str, Any] | None = None

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: Any) -> None:
        if self.read is None:
            ReadCatalogOnce.read = context.config_loader["catalog"]
        context.config_loader["catalog"] = deepcopy(self.read)


class Project:
    """A project folder of its own; ``run`` is ``kedro run --env=smoke``.

    Attributes:
        parses: how often ``drsf_run`` parsed the tree of parameters.
    """

    parses = 0

    def __init__(self, root: Path, template: Path) -> None:
        self.root = Path(shutil.copytree(template, root, dirs_exist_ok=True))

    @property
    def data(self) -> Path:
        """The folder of what the runs make."""
        return self.root / "data" / "smoke"

    def session(self, **parameters: Any) -> Any:
        from kedro.framework.project import pipelines
        from kedro.framework.session import KedroSession

        pipelines.configure("dg_project.pipeline_registry")  # forgets what the last run asked for
        session = KedroSession.create(self.root, env="smoke", runtime_params=parameters)
        session._hook_manager.register(ReadCatalogOnce())
        return session

    def run(self, *pipelines: str, load_versions: dict[str, str] | None = None, to_nodes: list[str] | None = None,
            **parameters: Any) -> str:
        """Run pipelines and return the version that they wrote. Figures are drawn, but their axes are not aligned."""
        from quick_figures import skip_alignment

        with pytest.MonkeyPatch.context() as patch, self.session(**parameters) as session:
            skip_alignment(patch)
            session.run(pipeline_names=list(pipelines), to_nodes=to_nodes, load_versions=load_versions)
            return session.session_id

    @cached_property
    def catalog(self) -> Any:
        """The catalog outside a run."""
        with self.session() as session:
            return session.load_context().catalog

    def load(self, name: str, version: str | None = None) -> Any:
        """Load an artifact, the newest one unless a version is named."""
        self.catalog.release(name)  # it would remember which one was the newest
        return self.catalog.load(name, version)

    def mlflow(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")

    def tracked(self, version: str) -> Any:
        """Return the MLflow run of a Kedro run."""
        client = self.mlflow()
        experiment = client.get_experiment_by_name("smoke")
        found = client.search_runs([experiment.experiment_id], f"tags.`kedro.run_id` = '{version}'")
        assert len(found) == 1
        return found[0]

    def children(self, version: str) -> list[Any]:
        """Return the child runs of a Kedro run, one per trained model."""
        info = self.tracked(version).info
        return list(self.mlflow().search_runs([info.experiment_id], f"tags.`mlflow.parentRunId` = '{info.run_id}'"))


@pytest.fixture(scope="session")
def quiet_environment() -> Any:
    """Nothing is reported or tracked elsewhere; the package is configured once, a search through all modules.

    The pipelines, which nothing changes, are built once.
    """
    from kedro.framework.project import configure_project

    from dg_project import pipeline_registry

    patch = pytest.MonkeyPatch()
    patch.setenv("DO_NOT_TRACK", "1")
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setitem(sys.modules, "ibis", None)  # Kedro looks for it on the whole path once per parameter
    patch.setattr(pipeline_registry, "register_pipelines", cache(pipeline_registry.register_pipelines))
    configure_project("dg_project")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, tiny: Any, tiny_ldm: Path, database: Path) -> Path:
    """What every project starts with; read-only."""
    root = tmp_path_factory.mktemp("template")
    shutil.copy(database, root / "mlflow.db")
    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    for figures in (root / "conf" / "base" / "catalog").glob("*.yml"):  # a quarter of a run's time is drawing
        figures.write_text(figures.read_text().replace("dpi: 150", "dpi: 30"))
    shutil.copytree(tiny.streets, root / "data" / "01_raw" / "streets")
    shutil.copytree(tiny_ldm, root / "data" / "06_models" / "tiny_ldm")
    return root


@pytest.fixture(scope="session")
def database(shared_folder: Path) -> Path:
    """An empty MLflow store; making its tables takes longer than everything else in a small run."""
    from mlflow import MlflowClient

    from dg_project.core.cache import lock_folder

    with lock_folder(shared_folder):
        MlflowClient(f"sqlite:///{shared_folder / 'mlflow.db'}").search_experiments()
    return shared_folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, template: Path, quiet_environment: None) -> Project:
    """A fresh project that the test may damage."""
    return Project(tmp_path, template)


@pytest.fixture(scope="session")
def drsf_run(tmp_path_factory: pytest.TempPathFactory, template: Path,
             quiet_environment: None) -> tuple[Project, str]:
    """A project in which ``kedro run --pipeline=drsf`` ran once, and the version of that run."""
    from dg_project.config import Settings

    project, validate = Project(tmp_path_factory.mktemp("project"), template), Settings.model_validate

    def counted(*args: Any, **options: Any) -> Settings:
        project.parses += 1
        return validate(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "model_validate", counted)
        return project, project.run("drsf")
