"""Kill, fill, crowd, stop and mislead the project, and check that it survives or says why not.

    make torture                                          # every kind, resumed where it was stopped
    make torture ARGS="--kinds input --trials 200"        # one kind, another number of trials

Every trial is a function of ``--seed`` and its number. The trials run in children of a process that has imported the
libraries, on copies of a small project with random weights (``conf/smoke``). Rows go to
``benchmarks/results/torture.csv`` as they end; a trial of this commit that is there already is not run again. A table
of them is written into ``docs/torture.md``. Temporary files lie in ``--work``.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests"), str(PROJECT / "tests" / "data" / "readers"),
                str(Path(__file__).parent)]
RESULTS = PROJECT / "benchmarks" / "results" / "torture.csv"
TRIALS = {"kill": 50, "disk": 18, "together": 6, "stop": 24, "input": 200}
COLUMNS = ["kind", "trial", "what", "verdict", "told", "half_written", "left_over", "cpu_seconds", "seed", "commit",
           "dirty", "hardware"]


def main() -> int:
    """Run the trials that are missing; return 1 if any of them found a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--trials", type=int, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "dg_project_torture")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    os.environ |= {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
    import page

    from dg_project.core.provenance import commit, hardware, is_dirty

    facts = {"seed": given.seed, "commit": commit(PROJECT)[:7], "dirty": is_dirty(PROJECT), "hardware": hardware("cpu")}
    known = read(given.out)
    done = {(row["kind"], int(row["trial"])) for row in known
            if (row["commit"], row["seed"]) == (facts["commit"], str(given.seed))}
    planned = [(kind, number) for kind in given.kinds for number in range(given.trials or TRIALS[kind])]
    waiting = [one for one in planned if one not in done]
    if waiting:
        _run(waiting, given.work / f"{facts['commit']}_{given.seed}", given.seed, facts, given.out)
    every = read(given.out)
    page.write(every)
    rows = [row for row in every if row["commit"] == facts["commit"]]
    faults = [row for row in rows if row["verdict"].startswith("FAULT")]
    print(f"{len(rows)} trials, {len(faults)} faults")
    return int(bool(faults))


def _run(waiting: list[tuple[str, int]], folder: Path, seed: int, facts: dict[str, object], out: Path) -> None:
    trial = _trials(folder, seed, {kind for kind, _ in waiting})
    start = time.monotonic()
    for position, (kind, number) in enumerate(waiting):
        cpu = _cpu()
        row = {"kind": kind, "trial": number, **trial(kind, number), "cpu_seconds": round(_cpu() - cpu, 1), **facts}
        append(row, out)
        left = (time.monotonic() - start) / (position + 1) * (len(waiting) - position - 1)
        print(f"{position + 1}/{len(waiting)}, {left / 60:.0f} min left: {kind} {number}, {row['what']}: "
              f"{row['verdict']}", flush=True)


def _trials(folder: Path, seed: int, kinds: set[str]) -> Callable[[str, int], dict[str, object]]:
    """Return a function that runs one trial; everything heavy is imported here, once."""
    import inputs

    kit = inputs.Kit(folder / "inputs")
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"
    if kinds == {"input"}:
        return lambda _, number: _input(inputs, kit, number, seed)
    import faults
    from projects import Projects

    _import_everything()
    projects = Projects(folder)
    projects.prepare()
    ways = {"kill": faults.kill, "disk": faults.full_disk, "together": faults.together, "stop": faults.stop}

    def trial(kind: str, number: int) -> dict[str, object]:
        if kind == "input":
            return _input(inputs, kit, number, seed)
        found = ways[kind](projects, number, seed)
        return {"what": found.what, "verdict": f"FAULT: {found.fault}" if found.fault else "survived",
                "told": _told(found.told, folder), "half_written": found.half_written, "left_over": found.left_over}

    return trial


def _input(inputs: object, kit: object, number: int, seed: int) -> dict[str, object]:
    what, verdict, told = inputs.trial(kit, number, seed)  # type: ignore[attr-defined]
    told = _told(told, kit.folder)  # type: ignore[attr-defined]
    return {"what": what, "verdict": verdict, "told": told, "half_written": 0, "left_over": 0}


def _told(text: str, folder: Path) -> str:
    """Return the beginning of a message, without the path of this machine's folder."""
    return text.replace(str(folder), "…")[:300]


def _import_everything() -> None:
    import diffusers  # noqa: F401
    import kedro_datasets.pandas  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import mlflow  # noqa: F401
    import torch
    from kedro.framework.project import configure_project
    from kedro.framework.session import KedroSession  # noqa: F401

    sys.modules["ibis"] = None  # type: ignore[assignment]  # Kedro looks for it once per parameter
    torch.set_num_threads(1)
    configure_project("dg_project")


def _cpu() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, [] if there is none."""
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def append(row: dict[str, object], path: Path) -> None:
    """Append a row to a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    sys.exit(main())
