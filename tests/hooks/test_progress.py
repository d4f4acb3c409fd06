"""One line per node, with the time left if the same work was done before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_settings import settings

from dg_project.hooks import progress
from dg_project.hooks.progress import NodeTimes, ProgressHook, duration


def test_duration_as_people_say_it() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.6, 223, 7265)] == ["0 s", "1 min 0 s", "3 min 43 s", "2 h 1 min"]


def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> None:
    chosen = settings(seed=seed).model_copy(update={"workspace": str(workspace)})
    nodes = [SimpleNamespace(name=f"training.{name}") for name in ("train_baseline", "train_method")]
    hook, clock = ProgressHook(), iter([0.0, 100.0, 100.0, 323.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    hook.before_pipeline_run(SimpleNamespace(nodes=nodes), SimpleNamespace(load=lambda name: chosen))
    for node in nodes:
        hook.before_node_run(node)
        hook.after_node_run(node)
    hook.after_pipeline_run()


def test_second_run_knows_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(tmp_path, monkeypatch)
    assert [" ".join(line.split()) for line in caplog.messages] == [
        "[1/2] train_baseline 1 min 40 s", "[2/2] train_method 3 min 43 s"]
    caplog.clear()
    run(tmp_path, monkeypatch, seed=1)
    assert [" ".join(line.split()) for line in caplog.messages] == [
        "[1/2] train_baseline 1 min 40 s about 3 min 43 s left", "[2/2] train_method 3 min 43 s"]
    assert max(map(len, caplog.messages)) <= 80


def test_worker_process_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    hook: Any = ProgressHook()
    node = SimpleNamespace(name="training.train_method")
    hook.before_node_run(node)
    hook.after_node_run(node)
    assert caplog.messages == ["train_method  0 s"]


def test_times_of_found_work_do_not_shorten_the_estimate(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    for seconds in (100.0, 1.0):
        times = NodeTimes(path, "key")
        times.note("a", seconds)
        times.save()
    assert NodeTimes(path, "key").of(["a"]) == 100
    assert NodeTimes(path, "key").of(["a", "b"]) == NodeTimes(path, "other").of(["a"]) == 0
    path.write_text("broken")
    assert NodeTimes(path, "key").of(["a"]) == 0
