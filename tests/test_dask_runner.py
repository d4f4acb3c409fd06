"""A run on a Dask cluster: two workers in processes of their own, one of which says that it has a GPU."""

from __future__ import annotations

import logging
import os
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from pipelines.conftest import Project, database, project, quiet_environment, template  # noqa: F401

from dg_project import dask_runner
from dg_project.core.errors import ClusterError, DataError
from dg_project.dask_runner import DaskRunner
from dg_project.datasets.tables import JSONDataset
from dg_project.pipelines.sums import create_sums

WAIT = 300
LAST = ("training.train_erm", "ingestion.count_images_and_boxes")


def dask(words: tuple[str, ...], log: Path) -> None:
    """Be the command ``dask WORDS``, which finds nothing of the project or a tracked run in memory."""
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(log.parent)
    forked.forget("dg_project", "kedro", "kedro_datasets", "mlflow", "distributed", "dask")
    sys.argv = ["dask", *words]
    runpy.run_module("dask", run_name="__main__")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """A function that starts ``dask WORDS`` in a process of its own."""
    folder, started = tmp_path_factory.mktemp("dask"), []

    def start(*words: str) -> None:
        started.append(forked.start(dask, words, folder / f"{len(started)}.log"))

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def cluster(processes: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Addresses of a scheduler, of a worker without a GPU and of one that says it has one."""
    from distributed import Client

    told = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    file = ("--scheduler-file", str(told))
    processes("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *file)
    for resources in ("CPU=1", "GPU=1"):
        processes("worker", *file, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--memory-limit", "0",
                  "--no-dashboard", "--resources", resources)
    with Client(scheduler_file=str(told), timeout=WAIT, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=WAIT)
        info = client.scheduler_info(n_workers=-1)
        by_resource = {next(iter(worker["resources"])): name for name, worker in info["workers"].items()}
        return info["address"], by_resource["CPU"], by_resource["GPU"]


def run(project: Project, address: str, *last: str) -> str:  # noqa: F811
    """Run the pipeline ``erm`` up to the nodes ``last`` and return the version."""
    with project.session() as session:
        session.run(pipeline_names=["erm"], to_nodes=list(last), runner=DaskRunner(address, patience=WAIT))
        return session.session_id


def local(threads: int, workers: int = 1) -> Any:
    """A cluster in this process."""
    from distributed import LocalCluster

    return LocalCluster(n_workers=workers, threads_per_worker=threads, processes=False, protocol="tcp",
                        host="127.0.0.1", dashboard_address=":0", silence_logs=logging.ERROR)


def test_run_on_two_workers(project: Project, cluster: tuple[str, str, str],  # noqa: F811
                                           caplog: pytest.LogCaptureFixture) -> None:
    address, _, with_gpu = cluster
    # Another run's newer version: whoever took the newest one would read this.
    strange = project.data / "02_intermediate/source_manifest.parquet/9999-01-01T00.00.00.000Z"
    strange.mkdir(parents=True)
    (strange / "source_manifest.parquet").write_text("not of this run")
    with caplog.at_level(logging.INFO, "dg_project"):
        version = run(project, address, *LAST)
    nodes = {node.name: node for node in create_sums()["erm"].to_nodes(*LAST).nodes}
    ran = dict(re.findall(r"(\S+) runs on (tcp://\S+)", caplog.text))
    assert ran.keys() == nodes.keys()
    assert {ran[name] for name, node in nodes.items() if "gpu" in node.tags} == {with_gpu}
    assert len(nodes) == 4
    assert "2 worker(s)" in caplog.text
    assert "data card" in caplog.text  # logged on a worker, seen here
    written = {path.name for path in project.data.glob("0[2-8]_*/*/*T*Z")}
    assert written == {version, strange.name}
    tracked = project.tracked(version)
    assert tracked.info.status == "FINISHED"
    child, = project.children(version)
    assert any(name.startswith("train/loss_") for name in child.data.metrics)
    assert len(project.mlflow().search_runs([tracked.info.experiment_id])) == 2


def test_node_error_reaches_the_user(project: Project, cluster: tuple[str, str, str]) -> None:  # noqa: F811
    (project.root / "data/01_raw/streets/daytime_clear/VOC2007/JPEGImages/train_000.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="train_000"):
        run(project, cluster[0], "ingestion.ingest_source")
    api = project.mlflow()
    experiment = api.get_experiment_by_name("smoke").experiment_id
    assert [found.info.status for found in api.search_runs([experiment])] == ["FAILED"]


def make(path: Path, tags: str | None = None) -> tuple[Pipeline, DataCatalog]:
    pipeline = Pipeline([Node(sorted, "numbers", "ordered", name="order", tags=tags)])
    return pipeline, DataCatalog({"numbers": MemoryDataset([2, 1]), "ordered": JSONDataset(filepath=str(path))})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This repository as the project, for runs without a session."""
    from kedro.framework.project import configure_project

    configure_project("dg_project")
    monkeypatch.setenv(dask_runner.ROOT_VARIABLE, str(Path(__file__).parents[1]))


@pytest.mark.usefixtures("here")
def test_nodes_without_gpu_workers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline, catalog = make(tmp_path / "ordered.json", tags="gpu")
    with local(threads=1) as cluster, caplog.at_level(logging.INFO, "dg_project"):
        DaskRunner(cluster.scheduler_address, WAIT).run(pipeline, catalog)
    assert catalog.load("ordered") == [1, 2]
    assert "0 of them with a GPU" in caplog.text


@pytest.mark.usefixtures("here")
def test_worker_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, catalog = make(tmp_path / "ordered.json")
    with local(threads=2) as cluster, pytest.raises(ClusterError, match="--nthreads 1"):
        DaskRunner(cluster.scheduler_address, WAIT).run(pipeline, catalog)
    with local(threads=1, workers=0) as cluster, pytest.raises(ClusterError, match=r"no workers; .*dask worker tcp://"):
        DaskRunner(cluster.scheduler_address, patience=0.2).run(pipeline, catalog)
    with local(threads=1) as cluster:
        monkeypatch.setattr("distributed.Client.run",
                            lambda client, function, root: {"tcp://other": {**function(root), "torch": "1.0"}})
        with pytest.raises(ClusterError, match=r"torch 1\.0 \(here .*requirements\.lock"):
            DaskRunner(cluster.scheduler_address, WAIT).run(pipeline, catalog)
    assert not (tmp_path / "ordered.json").exists()


def test_unusable_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, catalog = make(tmp_path / "ordered.json")
    with pytest.raises(ClusterError, match="address=tcp://HOST:8786"):
        DaskRunner().run(pipeline, catalog)
    for address in ("tcp://127.0.0.1:1", "tpc://host:8786", "host"):
        with pytest.raises(ClusterError, match=f"no Dask scheduler answers at '{address}'.*dask scheduler"):
            DaskRunner(address, patience=0.5).run(pipeline, catalog)
    with pytest.raises(ClusterError, match="'ordered' would stay in the memory"):
        DaskRunner("tcp://127.0.0.1:1").run(pipeline, DataCatalog({"numbers": MemoryDataset([2, 1])}))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'dg_project\[scale\]'"):
        DaskRunner("tcp://127.0.0.1:1").run(pipeline, catalog)
