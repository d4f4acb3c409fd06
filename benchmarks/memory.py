"""Shared by the memory benchmarks: measure a peak, describe the machine, append to a table."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from PIL import Image

MEGABYTE = 2**20
BOXES = 6
"""Labelled boxes per source image."""


def measured(work: Callable[[], pd.DataFrame], images: int, traced: bool) -> dict[str, float]:
    """Run the work, which returns a manifest of ``images`` rows, once in this process; return seconds and megabytes."""
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    if traced:
        tracemalloc.start()
    manifest = work()
    seconds = time.perf_counter() - started
    assert len(manifest) == images
    if traced:
        after, peak = (value / MEGABYTE for value in tracemalloc.get_traced_memory())
        return {"traced_peak_mb": peak, "manifest_mb": after, "overhead_mb": peak - after}
    unit = 1 if platform.system() == "Darwin" else 1024
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"seconds": seconds, "resident_growth_mb": max(0, highest - before) / MEGABYTE}


def both_ways(script: str, images: int, *more: str) -> dict[str, Any]:
    """Return a table row: the script run with ``--inside plain`` and ``traced``, each in its own process."""
    row: dict[str, Any] = {"images": images}
    for how in ("plain", "traced"):
        command = [sys.executable, script, "--images", str(images), "--inside", how, *more]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "TQDM_DISABLE": "1"})
        row |= {key: round(value, 2) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}
    return row | facts()


def facts() -> dict[str, str]:
    """Return hardware, versions and commit."""
    import dg_project

    repository = Path(str(dg_project.__file__)).parent
    commit = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=repository, capture_output=True, text=True)
    memory = psutil.virtual_memory().total / 2**30
    return {"commit": commit.stdout.strip() or "unknown", "python": platform.python_version(),
            "pandas": pd.__version__, "pillow": Image.__version__,
            "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"}


def append(rows: list[dict[str, Any]], out: Path) -> None:
    """Append rows to a results table and print it."""
    table = pd.DataFrame(rows)
    if out.exists():
        table = pd.concat([pd.read_csv(out), table], ignore_index=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False)
    print(table.to_string(index=False))
