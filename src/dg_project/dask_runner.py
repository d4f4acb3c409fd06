"""Run nodes on the workers of a Dask cluster, on this or on other machines.

``kedro run --pipeline=drsf --runner=dg_project.dask_runner.DaskRunner --runner-params address=tcp://host:8786``

The workers share the project folder under the same path. A run stays one Kedro session, with one version of every
artifact and one MLflow run. See docs/scale.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.io import MemoryDataset
from kedro.runner import AbstractRunner
from kedro.runner.task import Task

from dg_project.config.paths import ROOT_VARIABLE
from dg_project.core.code_key import code_key, every_module
from dg_project.core.errors import ClusterError
from dg_project.core.provenance import versions
from dg_project.hooks.mlflow.runs import STATE_VARIABLE
from dg_project.hooks.run_context import pin_read, pin_written

logger = logging.getLogger(__name__)

GPU = "gpu"
"""Nodes with this tag go to workers that were started with ``--resources "GPU=1"``."""
_START = 'dask worker {} --nthreads 1 --no-nanny --memory-limit 0 --resources "GPU=1"'


class DaskRunner(AbstractRunner):
    """Runs nodes on the workers of a Dask cluster, in parallel where the pipeline allows it.

    Args:
        address: address of the scheduler, ``tcp://host:8786``.
        patience: seconds to wait for the scheduler and for the first worker.
        is_async: load and save the datasets of a node in parallel.
    """

    def __init__(self, address: str | None = None, patience: float = 20, is_async: bool = False) -> None:
        super().__init__(is_async=is_async)
        self._address, self._patience, self._run_id = address, patience, ""

    def _run(self, pipeline: Any, catalog: Any, hook_manager: Any = None, run_id: str | None = None) -> None:
        held = [name for name in pipeline.all_outputs() if isinstance(catalog.get(name), MemoryDataset)]
        if held:
            raise ClusterError(f"{', '.join(map(repr, sorted(held)))} would stay in the memory of one worker; add them "
                               "to the catalog (conf/base/catalog/)")
        pin_written(pipeline, catalog)
        pin_read(pipeline, catalog)
        self._run_id = run_id or ""
        super()._run(pipeline, catalog, hook_manager, run_id)

    def _get_executor(self, max_workers: int) -> Executor:
        if self._address is None:
            raise ClusterError("which Dask cluster? Set --runner-params address=tcp://HOST:8786; `dask scheduler` "
                               f"starts one and prints its address, then `{_START.format('ADDRESS')}` its workers")
        return Cluster(self._address, self._patience, self._run_id)


class Cluster(Executor):
    """A Dask cluster as the executor that Kedro submits its tasks to.

    Args:
        address: address of the scheduler.
        patience: seconds to wait for the scheduler and for the first worker.
        run_id: id of the run whose nodes are submitted.

    Raises:
        ClusterError: Dask is not installed, no scheduler answers, no worker starts in time, or a worker is not usable.
    """

    def __init__(self, address: str, patience: float, run_id: str) -> None:
        self._client = _connect(address, patience)
        try:
            workers = _workers(self._client, address, patience)
            _check(self._client, workers)
            self._topic = f"dg_project {run_id}"
            self._client.subscribe_topic(self._topic, lambda event: _show(*event[1]))
        except BaseException:
            self._client.close()
            raise
        with_gpu = [name for name, worker in workers.items() if worker["resources"].get(GPU.upper())]
        logger.info("Dask: %d worker(s) at %s, %d of them with a GPU%s", len(workers), address, len(with_gpu),
                    "" if with_gpu else f': nodes tagged "{GPU}" run on any (say so with --resources "GPU=1")')
        self._anywhere = self._client.get_executor(pure=False)
        self._on_gpu = self._client.get_executor(pure=False, resources={GPU.upper(): 1}) if with_gpu else self._anywhere

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit one Kedro task to a worker; the future returns its node, or raises its error."""
        from distributed.protocol.pickle import dumps
        from kedro.framework.project import PACKAGE_NAME

        given = {name: os.environ[name] for name in (ROOT_VARIABLE, STATE_VARIABLE) if name in os.environ}
        # A hook manager cannot be pickled; a task that is marked as parallel makes its own.
        task = Task(fn.node, fn.catalog, fn.is_async, run_id=fn.run_id, parallel=True)
        chosen = self._on_gpu if GPU in fn.node.tags else self._anywhere
        # As bytes: the scheduler would open the task, which imports torch and blocks it for many seconds.
        return chosen.submit(_execute, dumps(task), PACKAGE_NAME, given, self._topic)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster: waiting tasks are dropped, running ones are not awaited."""
        self._client.close()


def _connect(address: str, patience: float) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("DaskRunner needs Dask, on this machine and on those of the workers: "
                           "pip install 'dg_project[scale]'") from error
    try:
        return Client(address, timeout=patience, set_as_default=False)
    except (OSError, ValueError) as error:  # ValueError: tpc://..., no port
        raise ClusterError(f"no Dask scheduler answers at '{address}' ({error}); start one there with `dask scheduler "
                           "--port 8786`, or correct --runner-params address=tcp://HOST:PORT") from error


def _workers(client: Any, address: str, patience: float) -> dict[str, Any]:
    """Return the scheduler's information about its workers, by address."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError as error:
        raise ClusterError(f"the Dask scheduler at '{address}' has no workers; on each machine, once for each GPU, "
                           f"start one: {_START.format(address)}") from error
    return client.scheduler_info(n_workers=-1)["workers"]


def _check(client: Any, workers: dict[str, Any]) -> None:
    """Compare every worker with this process: threads, folder, versions, code."""
    if crowded := [name for name, worker in workers.items() if worker["nthreads"] > 1]:
        raise ClusterError(f"the worker {crowded[0]} runs several nodes in one process, which PyTorch's settings and "
                           f"diffusers do not support; start it with --nthreads 1")
    root = os.environ.get(ROOT_VARIABLE, ".")
    try:
        states = client.run(state, root)
    except ImportError as error:
        raise ClusterError(f"a worker cannot import what it needs ({error}); install dg_project[scale] there, the same "
                           "commit as here") from error
    here = state(root)
    for worker, there in states.items():
        if other := [f"{key} {there.get(key)} (here {here[key]})" for key in here if there.get(key) != here[key]]:
            raise ClusterError(f"the worker {worker} differs from this machine: {', '.join(other)}. Install the same "
                               "commit and requirements.lock on both, and share the project folder under the same path")


def state(root: str) -> dict[str, str]:
    """Return the facts about this process that must be equal on every machine of a run."""
    found = {name: number.partition("+")[0] for name, number in versions().items()}  # 2.11.0+cu128 is 2.11.0
    return {**found, "code of dg_project": code_key(*every_module()),
            "project folder": root if Path(root, "conf").is_dir() else f"'{root}' is missing"}


def _execute(pickled: bytes, package: str, given: dict[str, str], topic: str) -> Any:
    """Run one node. This is called on a worker."""
    from distributed import get_worker
    from distributed.protocol.pickle import loads
    from kedro.framework.project import configure_project

    with _environment(given):
        configure_project(package)
        task: Task = loads(pickled)
        relay = _Relay(get_worker(), topic)
        logging.getLogger(package).addHandler(relay)
        try:
            logger.info("%s runs on %s", task.node.name, get_worker().address)
            return task.execute()
        finally:
            logging.getLogger(package).removeHandler(relay)


@contextmanager
def _environment(given: dict[str, str]) -> Iterator[None]:
    """Set variables while a node runs; the worker outlives the run, and the next run may not track."""
    before = {name: os.environ.pop(name, None) for name in (ROOT_VARIABLE, STATE_VARIABLE)}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class _Relay(logging.Handler):
    """Sends the log lines of a node to the terminal that started the run."""

    def __init__(self, worker: Any, topic: str) -> None:
        super().__init__(logging.INFO)
        self._worker, self._topic = worker, topic

    def emit(self, record: logging.LogRecord) -> None:
        """Send name, level and text; the arguments of a record may not be picklable."""
        self._worker.log_event(self._topic, [record.name, record.levelno, record.getMessage()])


def _show(name: str, level: int, message: str) -> None:
    target = logging.getLogger(name)
    if target.isEnabledFor(level):
        target.handle(logging.LogRecord(name, level, "", 0, message, None, None))
