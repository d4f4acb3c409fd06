"""Measure the seconds of an ingestion with this code and with that of an earlier commit, in turns on the same files.

    python benchmarks/ingestion_speed.py --against 8081010            # 10000 images, appended to the table of results
    python benchmarks/ingestion_speed.py --images 500 --rounds 1      # this code alone

The images are those of ``ingestion_memory.py``. Each round runs every code in a process of its own, after a warm-up on
a few images. ``cpu_seconds`` counts all threads and hardly depends on what else the machine does; ``seconds`` does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from ingestion_memory import write_domain
from memory import append, facts

PROJECT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "ingestion_speed.csv"
INGEST = """
import json, sys, time
try:
    from dg_project.data.card import data_card
    from dg_project.data.readers import read_domain
except ImportError:  # the names of earlier commits
    from dg_project.domains.card import data_card
    from dg_project.domains.readers import read_domain

def ingest(domain):
    start, cpu = time.perf_counter(), time.process_time()
    manifest, skipped = read_domain("voc", __import__("pathlib").Path(sys.argv[1]), domain, "source",
                                    {"train": "train"}, ["car"])
    data_card(manifest, ["car"], skipped)
    return {"images": len(manifest), "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}

ingest("warm")
print(json.dumps(ingest("day")))
"""


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Yield a temporary work tree of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(PROJECT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measure(tree: Path, root: Path) -> dict[str, Any]:
    """Return the numbers of one ingestion by the code of a work tree."""
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    done = subprocess.run([sys.executable, "-c", INGEST, str(root)], cwd=tree, env=environment, check=True,
                          capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure in turns and append the rows to the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_domain(Path(folder), "warm", 20)
        write_domain(Path(folder), "day", given.images)
        if given.against:
            with checkout(given.against) as earlier:
                for number in range(given.rounds):
                    rows += [{"code": name, "round": number, **measure(tree, Path(folder)), **facts()}
                             for name, tree in (("this", PROJECT), (given.against, earlier))]
        else:
            rows = [{"code": "this", "round": number, **measure(PROJECT, Path(folder)), **facts()}
                    for number in range(given.rounds)]
    append(rows, given.out)
    medians = pd.DataFrame(rows).groupby("code", sort=False)[["seconds", "cpu_seconds"]].median()
    print(medians.round(2).to_string())
    if given.against:
        print((medians.loc["this"] / medians.loc[given.against]).round(3).to_string())


if __name__ == "__main__":
    main()
