"""Measure the peak memory of the ingestion, from image and annotation folders to the manifest and the data card.

    python benchmarks/ingestion_memory.py                  # 1000, 5000, 20000 images, appended to the table of results
    python benchmarks/ingestion_memory.py --images 500     # another number

The images are small JPEGs with six boxes each in the layout of Pascal VOC, written to a temporary folder. Each number
of images is run twice, each time in its own process: once for the growth of the resident memory, once traced by
tracemalloc, which counts every Python object. The manifest remains after the run; ``overhead_mb`` is the traced peak
beyond it. A warm-up run on a few images excludes imports and threads.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd
from memory import BOXES, append, both_ways, measured
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "ingestion_memory.csv"
WIDTH, HEIGHT = 64, 40


def annotation(image_id: str) -> str:
    """Return the VOC annotation of an image."""
    boxes = "".join(
        f"<object><name>car</name><difficult>0</difficult><bndbox><xmin>{8 * i + 1}</xmin><ymin>1</ymin>"
        f"<xmax>{8 * i + 8}</xmax><ymax>8</ymax></bndbox></object>" for i in range(BOXES))
    return (f"<annotation><filename>{image_id}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height>"
            f"<depth>3</depth></size>{boxes}</annotation>")


def write_domain(root: Path, domain: str, images: int) -> None:
    """Write a domain of distinct images, all in the split ``train``."""
    folder = root / domain / "VOC2007"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    names = [f"{domain}_{i:06d}" for i in range(images)]
    for i, name in enumerate(names):
        colour = (i % 256, i // 256 % 256, 128)
        Image.new("RGB", (WIDTH, HEIGHT), colour).save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(annotation(name))
    (folder / "ImageSets" / "Main" / "train.txt").write_text("\n".join(names))


def ingest(root: Path, domain: str) -> pd.DataFrame:
    """Read one domain as the pipeline does, and compute its data card."""
    from dg_project.data.card import data_card
    from dg_project.data.readers import read_domain

    manifest, skipped = read_domain("voc", root, domain, "source", {"train": "train"}, ["car"])
    data_card(manifest, ["car"], skipped)
    return manifest


def measure(root: Path, images: int, traced: bool) -> dict[str, float]:
    """Run one ingestion in this process and return seconds and megabytes."""
    ingest(root, "warm")
    return measured(lambda: ingest(root, "day"), images, traced)


def main() -> None:
    """Measure every number of images in separate processes and append the rows to the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--inside", nargs=2, metavar=("HOW", "ROOT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        how, root = given.inside
        print(json.dumps(measure(Path(root), given.images[0], how == "traced")))
        return
    rows = []
    for images in given.images:
        with tempfile.TemporaryDirectory() as folder:
            write_domain(Path(folder), "warm", 20)
            write_domain(Path(folder), "day", images)
            rows.append(both_ways(__file__, images, folder))
    append(rows, given.out)


if __name__ == "__main__":
    main()
