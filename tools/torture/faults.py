"""One trial of each kind of fault: a kill, a full disk, several runs at once, a signal."""

from __future__ import annotations

import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from processes import fork, mount_small_disk, resize_disk
from projects import STAGES, Projects, half_written, held_locks, left_over, mlflow_states, run, work

TORTURED = [name for name, stage in STAGES.items() if stage.tortured]
TOGETHER = ("training", "grid", "synthesis")
"""Stages that several runs share; others publish under a version of their own."""
BIG = 1 << 30


@dataclass(frozen=True)
class Verdict:
    """What a trial found.

    Attributes:
        what: the stage and the fault.
        fault: what went wrong, or "".
        told: the last line of the disturbed run.
        half_written: files under final names that cannot be opened.
        left_over: bytes of temporary files after the run that resumed.
    """

    what: str
    fault: str
    told: str = ""
    half_written: int = 0
    left_over: int = 0


def kill(projects: Projects, number: int, seed: int) -> Verdict:
    """Kill a stage with SIGKILL at a random moment, run it again and compare the results."""
    rng, name = random.Random(f"kill/{seed}/{number}"), TORTURED[number % len(TORTURED)]
    root, after = projects.copy(name, number), rng.uniform(0.02, 1.0) * projects.cpu(name)
    child = fork(lambda: work(root, name), root / "killed.log")
    child.strike(signal.SIGKILL, after)
    struck = child.wait().status == -signal.SIGKILL
    return _resumed(projects, root, name, f"{name}: SIGKILL at {after:.1f} s{'' if struck else ' (was over)'}")


def full_disk(projects: Projects, number: int, seed: int) -> Verdict:
    """Let the disk be full after a random number of bytes; then give it space, run again and compare the results."""
    rng, name = random.Random(f"disk/{seed}/{number}"), TORTURED[number % len(TORTURED)]
    root, room = projects.copy(name, number), int(rng.uniform(0, 0.95) * projects.written(name))
    what, told = f"{name}: disk full after {room} bytes", root / "told.txt"

    def on_a_small_disk() -> None:
        before = shutil.move(root / "data", root / "before")
        (root / "data").mkdir()
        mount_small_disk(root / "data", BIG)
        shutil.copytree(before, root / "data", dirs_exist_ok=True, symlinks=True)
        used = shutil.disk_usage(root / "data").used
        resize_disk(root / "data", used + room)
        ended = run(root, name, root / "full.log")
        bad = half_written(root)
        clear = ended.status == 1 and any("the disk is full" in line or "No space left" in line for line in ended.lines)
        traced = "Traceback" in ended.log
        resize_disk(root / "data", BIG)
        again = run(root, name, root / "again.log")
        fault = f"half-written: {bad[0]}" if bad else "" if ended.status == 0 or (clear and not traced) else \
            f"ended with {ended.status}{' and a traceback' if traced else ''}"
        fault = fault or ("" if again.status == 0 else f"again: {again.lines}") or \
            ("" if projects.same(root, name) else "other results")
        told.write_text("\n".join([fault, str(len(bad)), str(left_over(root)), *ended.lines[-1:]]))

    ended = fork(on_a_small_disk, root / "disk.log").wait()
    if not told.is_file():
        return Verdict(what, f"the trial failed: {ended.lines}")
    fault, bad, left, *line = told.read_text().split("\n")
    shutil.rmtree(root)
    return Verdict(what, fault, line[0] if line else "", int(bad), int(left))


def together(projects: Projects, number: int, seed: int) -> Verdict:
    """Run two to four times the same at once, on one workspace."""
    rng, name = random.Random(f"together/{seed}/{number}"), TOGETHER[number % len(TOGETHER)]
    root, count = projects.copy(name, number), rng.randint(2, 4)
    children = [fork(lambda: work(root, name), root / f"run{k}.log") for k in range(count)]
    ended = [child.wait() for child in children]
    what = f"{name}: {count} runs at once"
    if wrong := next((one for one in ended if one.status), None):
        return Verdict(what, f"one ended with {wrong.status}", " ".join(wrong.lines[-1:]))
    bad = half_written(root)
    fault = f"half-written: {bad[0]}" if bad else "" if projects.same(root, name) else "other results"
    return _ended(root, Verdict(what, fault, half_written=len(bad), left_over=left_over(root)))


def stop(projects: Projects, number: int, seed: int) -> Verdict:
    """Stop a stage with SIGINT or SIGTERM: its MLflow run is KILLED, its locks are free, and it resumes."""
    rng, name = random.Random(f"stop/{seed}/{number}"), TORTURED[number % len(TORTURED)]
    which = (signal.SIGINT, signal.SIGTERM)[number // len(TORTURED) % 2]
    root, after = projects.copy(name, number), rng.uniform(0.05, 0.9) * projects.cpu(name)
    known = len(mlflow_states(root))
    child = fork(lambda: work(root, name), root / "stopped.log")
    child.strike(which, after)
    ended = child.wait()
    what = f"{name}: {which.name} at {after:.1f} s"
    states, locks = mlflow_states(root)[known:], list(held_locks(root))
    if ended.status == 0:
        return _resumed(projects, root, name, f"{what} (was over)")
    if not killed(states):
        return Verdict(what, f"MLflow says {states}", " ".join(ended.lines[-1:]))
    if locks:
        return Verdict(what, f"the lock of {locks[0]} is held")
    return _resumed(projects, root, name, what)


def killed(states: list[str]) -> bool:
    """Whether a stopped run, the first, is KILLED or was not open yet; trainings that it had finished are FINISHED."""
    return states[:1] in ([], ["KILLED"]) and set(states[1:]) <= {"KILLED", "FINISHED"}


def _resumed(projects: Projects, root: Path, name: str, what: str) -> Verdict:
    bad = half_written(root)
    again = run(root, name, root / "again.log")
    if again.status:
        return Verdict(what, f"the same command ended with {again.status}", " ".join(again.lines[-1:]), len(bad))
    fault = f"half-written: {bad[0]}" if bad else "" if projects.same(root, name) else "other results"
    return _ended(root, Verdict(what, fault, half_written=len(bad), left_over=left_over(root)))


def _ended(root: Path, verdict: Verdict) -> Verdict:
    if not verdict.fault:
        shutil.rmtree(root)
    return verdict
