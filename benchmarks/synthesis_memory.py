"""Peak memory of the synthesis' bookkeeping: everything but the diffusion model, which a dummy stands for.

    python benchmarks/synthesis_memory.py                  # 1000 and 20000 images, appended to the table of results
    python benchmarks/synthesis_memory.py --images 500     # another number, printed too

Each number of images is run twice, each time in a process of its own: once for the growth of the resident memory, once
traced by tracemalloc, which sees every Python object (and not the strings of a table, which pyarrow holds). What is
left after the run is the manifest that is returned; ``overhead_mb`` is the traced peak beyond it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "synthesis_memory.csv"
MEGABYTE = 2**20
BOXES = 6
"""Labelled boxes of a source image."""


class Dummy:
    """Paints one colour; costs no memory."""

    fingerprint = "dummy"
    mode = SimpleNamespace(name="img2img")

    def generate(self, images: list[Any], prompts: list[str], seeds: list[int], **options: Any) -> list[Image.Image]:
        """Return one small image per seed."""
        return [Image.new("RGB", (16, 16), (seed % 256, 0, 0)) for seed in seeds]


def source_manifest(root: Path, images: int) -> pd.DataFrame:
    """Return a manifest of so many rows that all show one small image."""
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(root / "source.png")
    sha256 = hashlib.sha256((root / "source.png").read_bytes()).hexdigest()
    boxes = [[[float(i), 0.0, i + 8.0, 8.0] for i in range(BOXES)] for _ in range(images)]
    fixed = {"domain": "day", "role": "source", "split": "train", "image": "source.png", "width": 16, "height": 16,
             "mask": "", "sha256": sha256}
    return pd.DataFrame({"image_id": [f"source_{i:06d}" for i in range(images)], **fixed, "boxes": boxes,
                         "labels": [[1] * BOXES] * images, "difficult": [[False] * BOXES] * images})


def measure(images: int, traced: bool) -> dict[str, float]:
    """Run one synthesis in this process and return seconds and megabytes."""
    from dg_project.diffusion.synthesis import synthesise
    from dg_project.parameters import LDMParams, PseudoDomain

    ldm, domains = LDMParams(checkpoint="none", batch_size=16), {"fog": PseudoDomain(prompt="a {foggy|misty} street")}
    generator: Any = Dummy()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = source_manifest(root, images)
        synthesise(source.head(20), root, domains, ldm, 1, 0, generator, root / "warm")
        before, started = psutil.Process().memory_info().rss, time.perf_counter()
        if traced:
            tracemalloc.start()
        manifest = synthesise(source, root, domains, ldm, 1, 0, generator, root / "work")
        seconds = time.perf_counter() - started
        assert len(manifest) == images
        if traced:
            after, peak = (value / MEGABYTE for value in tracemalloc.get_traced_memory())
            return {"traced_peak_mb": peak, "manifest_mb": after, "overhead_mb": peak - after}
        unit = 1 if platform.system() == "Darwin" else 1024
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"seconds": seconds, "resident_growth_mb": max(0, highest - before) / MEGABYTE}


def facts() -> dict[str, str]:
    """Return what the figures depend on beside the code: hardware class, versions, commit."""
    import dg_project

    repository = Path(str(dg_project.__file__)).parent
    commit = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=repository, capture_output=True, text=True)
    memory = psutil.virtual_memory().total / 2**30
    return {"commit": commit.stdout.strip() or "unknown", "python": platform.python_version(),
            "pandas": pd.__version__, "pillow": Image.__version__,
            "hardware": f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"}


def main() -> None:
    """Measure every number of images in processes of their own and append the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--inside", choices=["plain", "traced"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(measure(given.images[0], given.inside == "traced")))
        return
    rows = []
    for images in given.images:
        row: dict[str, Any] = {"images": images}
        for inside in ("plain", "traced"):
            command = [sys.executable, __file__, "--images", str(images), "--inside", inside]
            quiet = {**os.environ, "TQDM_DISABLE": "1"}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=quiet)
            row |= {key: round(value, 2) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}
        rows.append(row | facts())
    table = pd.DataFrame(rows)
    if given.out.exists():
        table = pd.concat([pd.read_csv(given.out), table], ignore_index=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(given.out, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
