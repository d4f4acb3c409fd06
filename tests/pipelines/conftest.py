"""A copy of the project with generated data and a random diffusion model: whole runs in seconds."""

from __future__ import annotations

import shutil
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from streets_fixture import build_tiny_streets

PROJECT = Path(__file__).parents[2]


class Project:
    """A project folder of its own; ``run`` is ``kedro run --env=smoke``.

    Attributes:
        parses: how often ``drsf_run`` parsed the tree of parameters.
    """

    parses = 0

    def __init__(self, root: Path, ldm: Path, database: Path) -> None:
        self.root = root
        shutil.copy(database, root / "mlflow.db")
        shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        for figures in (root / "conf" / "base" / "catalog").glob("*.yml"):  # a quarter of a run's time is drawing
            figures.write_text(figures.read_text().replace("dpi: 150", "dpi: 30"))
        build_tiny_streets(root / "data" / "01_raw" / "streets")
        shutil.copytree(ldm, root / "data" / "06_models" / "tiny_ldm")

    @property
    def data(self) -> Path:
        """The folder of what the runs make."""
        return self.root / "data" / "smoke"

    def session(self, **parameters: Any) -> Any:
        from kedro.framework.project import pipelines
        from kedro.framework.session import KedroSession

        pipelines.configure("dg_project.pipeline_registry")  # forgets what the last run asked for
        return KedroSession.create(self.root, env="smoke", runtime_params=parameters)

    def run(self, *pipelines: str, load_versions: dict[str, str] | None = None, **parameters: Any) -> str:
        """Run pipelines and return the version that they wrote."""
        with self.session(**parameters) as session:
            session.run(pipeline_names=list(pipelines), load_versions=load_versions)
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
    """Nothing is reported or tracked elsewhere; the package is configured once, a search through all modules."""
    from kedro.framework.project import configure_project

    patch = pytest.MonkeyPatch()
    patch.setenv("DO_NOT_TRACK", "1")
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setitem(sys.modules, "ibis", None)  # Kedro looks for it on the whole path once per parameter
    configure_project("dg_project")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store; making its tables takes longer than everything else in a small run."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(tmp_path: Path, tiny_ldm: Path, database: Path, quiet_environment: None) -> Project:
    """A fresh project that the test may damage."""
    return Project(tmp_path, tiny_ldm, database)


@pytest.fixture(scope="session")
def drsf_run(tmp_path_factory: pytest.TempPathFactory, tiny_ldm: Path, database: Path,
             quiet_environment: None) -> tuple[Project, str]:
    """A project in which ``kedro run --pipeline=drsf`` ran once, and the version of that run."""
    from dg_project.config import Settings

    project, validate = Project(tmp_path_factory.mktemp("project"), tiny_ldm, database), Settings.model_validate

    def counted(*args: Any, **options: Any) -> Settings:
        project.parses += 1
        return validate(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "model_validate", counted)
        return project, project.run("drsf")
