"""``dg_project mlflow``: open the tracked runs in the browser, at their table."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dg_project.core.errors import DataError, DGError, exit_status
from dg_project.core.ports import LOOPBACK, check_port

logger = logging.getLogger(__name__)

CONFIG = Path("conf/base/mlflow.yml")
PATIENCE = 600.0
"""Most seconds that the server may take to start."""


def main(arguments: Sequence[str]) -> int:
    """Run the command until it is stopped; return its exit status."""
    parser = argparse.ArgumentParser(prog="dg_project mlflow", description="Show and compare tracked runs.")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--quiet", action="store_true", help="do not open the browser")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: _serve(chosen.port, chosen.quiet))


def _serve(port: int, quiet: bool) -> None:
    check_port(port, f"make mlflow MLFLOW_PORT={port + 1}")
    store = _store()
    logger.info("starting MLflow ...")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with subprocess.Popen(_command(store, port), env=_environment()) as server:
        try:
            url = f"http://{LOOPBACK}:{port}/{runs_page(store)}"
            _wait(server, port)
            logger.info("runs     %s   (stop with Ctrl-C)", url)
            if not quiet:
                webbrowser.open(url)
            server.wait()
        except KeyboardInterrupt:
            logger.info("stopped")
        finally:
            server.terminate()


def _store() -> Path:
    """Return the embedded store."""
    import yaml

    if not CONFIG.is_file():
        raise DataError(f"'{Path.cwd()}' is not the project folder: there is no '{CONFIG}' in it")
    store = Path(yaml.safe_load(CONFIG.read_text())["store"]).absolute()
    if not store.is_file():
        raise DataError(f"no run was tracked here yet ('{store.name}' does not exist): make one with `make run`")
    return store


def runs_page(store: Path) -> str:
    """Return the address of the table of runs of the experiment that was used last, below the server's address.

    Without ``workflowType`` MLflow opens its page of traces, which are of language models.
    """
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    newest: list[Any] = list(client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=1))
    number = newest[0].info.experiment_id if newest else experiments[0]
    return f"#/experiments/{number}/runs?workflowType=machine_learning"


def _command(store: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", LOOPBACK, "--port", str(port),
            "--backend-store-uri", f"sqlite:///{store}", "--uvicorn-opts", "--log-level warning"]


def _environment() -> dict[str, str]:
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
             "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **quiet}


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers.

    Raises:
        DGError: it ended, or does not answer.
    """
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise DGError(f"the MLflow server did not start on port {port}; its messages are above")
