"""A run that is stopped by a signal is closed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dg_project.hooks.mlflow import stopping
from dg_project.hooks.mlflow.stopping import OnStop

SCRIPT = f"""
import runpy, sys, time
from pathlib import Path

OnStop = runpy.run_path({stopping.__file__!r})["OnStop"]  # the file alone: no need to wait for Kedro
OnStop(lambda: Path(sys.argv[1]).write_text("closed"))
try:
    print("ready", flush=True)
    time.sleep(0 if sys.argv[2] == "end" else 60)
finally:
    Path(sys.argv[1] + ".unwound").touch()
"""


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, {1, 130, -signal.SIGINT}), (signal.SIGTERM, {143}),
                                           (None, {0})])
def test_stopped_process_closes_and_unwinds(tmp_path: Path, how: signal.Signals | None, code: set[int]) -> None:
    closed = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(closed), "wait" if how else "end"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(os.environ))
    assert process.stdout is not None
    process.stdout.readline()
    started = time.monotonic()
    if how:
        process.send_signal(how)
    assert process.wait(30) in code
    assert time.monotonic() - started < 20
    assert closed.read_text() == "closed"
    assert (tmp_path / "run.unwound").exists()


def test_finished_run_is_not_closed_again() -> None:
    closed: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    watch = OnStop(lambda: closed.append(True))
    assert signal.getsignal(signal.SIGTERM) != before
    watch.forget()
    assert signal.getsignal(signal.SIGTERM) == before
    watch._closed()
    assert not closed


def test_failing_server_does_not_hide_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise OSError("no server")

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    with pytest.raises(KeyboardInterrupt):
        OnStop(fails)._stopped(signal.SIGINT, None)
    assert "could not be closed (no server)" in caplog.text
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.parametrize("signals", [1, 2])
def test_one_signal_waits_until_the_run_is_open_and_a_second_does_not(signals: int) -> None:
    opened: list[str] = []
    closed: list[str] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    watch = OnStop(lambda: closed.extend(opened))

    def open_run() -> None:
        with watch.held():
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGINT)
            opened.append("run")

    with pytest.raises(KeyboardInterrupt):
        open_run()
    assert closed == ([] if signals == 2 else ["run"])
    watch.forget()
