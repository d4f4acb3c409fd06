"""Measure the peak memory of the synthesis without the diffusion model, which a dummy replaces.

    python benchmarks/synthesis_memory.py                  # 1000 and 20000 images, appended to the table of results
    python benchmarks/synthesis_memory.py --images 500     # another number

Each number of images is run twice, each time in its own process: once for the growth of the resident memory, once
traced by tracemalloc, which counts every Python object (but not the strings of a table, which pyarrow holds). The
returned manifest remains after the run; ``overhead_mb`` is the traced peak beyond it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from memory import BOXES, append, both_ways, measured
from PIL import Image

from dg_project.data.manifest import NO_MASKS

RESULTS = Path(__file__).parent / "results" / "synthesis_memory.csv"


class Dummy:
    """Generator that returns images of one colour and needs no memory."""

    fingerprint = "dummy"
    mode = SimpleNamespace(name="img2img")
    device = SimpleNamespace(type="cuda")  # batches of any sources, as on an accelerator

    def generate(self, images: list[Any], prompts: list[str], seeds: list[int], **options: Any) -> list[Image.Image]:
        """Return one small image per seed."""
        return [Image.new("RGB", (16, 16), (seed % 256, 0, 0)) for seed in seeds]


def source_manifest(root: Path, images: int) -> pd.DataFrame:
    """Return a manifest of ``images`` rows with the same small image."""
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(root / "source.png")
    sha256 = hashlib.sha256((root / "source.png").read_bytes()).hexdigest()
    boxes = [[[float(i), 0.0, i + 8.0, 8.0] for i in range(BOXES)] for _ in range(images)]
    fixed = {"domain": "day", "role": "source", "split": "train", "image": "source.png", "width": 16, "height": 16,
             "sha256": sha256, **NO_MASKS}
    same = {column: [value] * images for column, value in fixed.items()}
    return pd.DataFrame({"image_id": [f"source_{i:06d}" for i in range(images)], **same, "boxes": boxes,
                         "labels": [[1] * BOXES] * images, "difficult": [[False] * BOXES] * images})


def measure(images: int, traced: bool) -> dict[str, float]:
    """Run one synthesis in this process and return seconds and megabytes."""
    from dg_project.config import LDMParams, PseudoDomain
    from dg_project.pseudo.generators.diffusion import DiffusionGenerator
    from dg_project.pseudo.synthesis import synthesise

    ldm, domains = LDMParams(checkpoint="none", batch_size=16), {"fog": PseudoDomain(prompt="a {foggy|misty} street")}
    model: Any = Dummy()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generator = DiffusionGenerator(model, ldm, root)
        source = source_manifest(root, images)
        synthesise(source.head(20), root, domains, generator, 1, 0, root / "warm")
        return measured(lambda: synthesise(source, root, domains, generator, 1, 0, root / "work"), images, traced)


def main() -> None:
    """Measure every number of images in separate processes and append the rows to the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--inside", choices=["plain", "traced"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(measure(given.images[0], given.inside == "traced")))
        return
    append([both_ways(__file__, images) for images in given.images], given.out)


if __name__ == "__main__":
    main()
