"""The tools of ``make torture`` work; the torture itself is no test."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools" / "torture"


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS.parents[1] / "tests" / "data" / "readers"))
    monkeypatch.syspath_prepend(str(TOOLS))


def test_broken_inputs_are_told(tmp_path: Path) -> None:
    import inputs

    kit = inputs.Kit(tmp_path)
    found = [inputs.trial(kit, number, seed=1) for number in (0, 1, 2, 9, 11, 13, 27)]
    assert {verdict for _, verdict, _ in found} <= {"refused", "warned", "same"}, found
    assert inputs.trial(kit, 0, seed=1) == found[0]


def test_faults_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import inputs

    kit = inputs.Kit(tmp_path)
    monkeypatch.setattr(inputs, "_break", lambda kit, root, rng, never: (root / "coco8/labels/val/000.txt").unlink())
    assert inputs.trial(kit, 2, seed=1)[1] == "FAULT: read as other data"
    monkeypatch.setattr(inputs, "load_model", lambda folder: {}["a bug"])
    assert inputs.trial(kit, 11, seed=1)[1:] == ("FAULT: KeyError", "'a bug'")


def test_children_end_as_commands_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from processes import fork

    def told() -> None:
        raise ValueError("a bug")

    with capfd.disabled():  # children write to the descriptors
        assert fork(lambda: sys.stdout.write("done"), tmp_path / "log").wait().lines == ["done"]
        ended = fork(told, tmp_path / "log").wait()
    assert (ended.status, ended.lines[-1]) == (1, "ValueError: a bug")
    child = fork(lambda: time.sleep(60), tmp_path / "log")
    child.strike(signal.SIGKILL, 0)
    assert child.wait().status == -signal.SIGKILL


def test_full_disk_is_full(tmp_path: Path) -> None:
    from processes import fork, mount_small_disk, resize_disk

    def fill() -> None:
        mount_small_disk(tmp_path, 1 << 20)
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "file").write_bytes(os.urandom(2 << 20))
        resize_disk(tmp_path, 8 << 20)
        (tmp_path / "file").write_bytes(os.urandom(2 << 20))

    ended = fork(fill, tmp_path.parent / "log").wait()
    if "no private mounts" in ended.log:
        pytest.skip("this kernel allows no private mounts")
    assert ended.status == 0, ended.log
    assert not (tmp_path / "file").exists()


def test_table_of_trials() -> None:
    import page

    row = {"kind": "kill", "verdict": "survived", "half_written": "0", "left_over": "7", "commit": "0123abc",
           "dirty": "False", "seed": "0", "hardware": "two cores"}
    older = {**row, "commit": "older", "dirty": "True"}
    text = page.table([older, {**older, "kind": "stop"}, row,
                       {**row, "verdict": "FAULT: other results", "half_written": "1"}])
    assert ("| SIGKILL at a random moment, then the same command again | 2 | 1 survived, 1 fault | 1 | 14 | `0123abc` |"
            in text)
    assert "| SIGINT or SIGTERM | 1 | 1 survived | 0 | 7 | `older` with changes |" in text
    assert "Seed 0, two cores." in text
