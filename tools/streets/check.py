"""Integrity of the rendered data: files readable, boxes inside, masks consistent, splits disjoint by layout."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

SIZE = (320, 192)
CORPUS_SEED, BENCHMARK_LAYOUTS = 500_000, 1000
CLASS_ID = {"person": 11, "rider": 12, "car": 13, "truck": 14, "bus": 15, "motor": 17, "bike": 18}
DOMAINS = ("daytime_clear", "night_clear", "dusk_rainy", "night_rainy", "daytime_foggy")


def check_frame(voc: Path, name: str) -> list[str]:
    """Problems of one frame; every box must be the exact extent of its object in the instance mask."""
    image = Image.open(voc / "JPEGImages" / f"{name}.jpg")
    image.load()
    semantic = np.asarray(Image.open(voc / "SegmentationClass" / f"{name}.png"))
    instance = np.asarray(Image.open(voc / "SegmentationObject" / f"{name}.png"))
    bad = [] if image.size == SIZE and semantic.shape == instance.shape == SIZE[::-1] else [f"{name}: wrong size"]
    if not set(np.unique(semantic)) <= {*range(19), 255}:
        bad.append(f"{name}: semantic ids outside 0..18, 255")
    objects = list(ET.parse(voc / "Annotations" / f"{name}.xml").getroot().iter("object"))
    if instance.max() != len(objects):
        bad.append(f"{name}: {instance.max()} instances, {len(objects)} boxes")
    for k, ob in enumerate(objects, 1):
        x0, y0, x1, y1 = (int(ob.findtext(f"bndbox/{c}", "0")) for c in ("xmin", "ymin", "xmax", "ymax"))
        if not (1 <= x0 < x1 <= SIZE[0] and 1 <= y0 < y1 <= SIZE[1]):
            bad.append(f"{name}: box {k} outside the image")
        ys, xs = np.where(instance == k)
        if not len(xs) or (xs.min() + 1, ys.min() + 1, xs.max() + 1, ys.max() + 1) != (x0, y0, x1, y1):
            bad.append(f"{name}: box {k} is not the extent of its mask")
        elif set(np.unique(semantic[ys, xs])) != {CLASS_ID[ob.findtext("name", "")]}:
            bad.append(f"{name}: box {k} and the semantic mask disagree")
    return bad


def check_benchmark(root: Path) -> tuple[list[str], int]:
    """Problems of the benchmark and its number of frames."""
    bad: list[str] = []
    owner: dict[str, str] = {}
    tests: set[tuple[str, ...]] = set()
    total = 0
    for domain in DOMAINS:
        voc = root / domain / "VOC2007"
        listed: list[str] = []
        for file in sorted((voc / "ImageSets/Main").glob("*.txt")):
            names = file.read_text().split()
            listed += names
            if file.stem == "test":
                tests.add(tuple(names))
            for n in names:
                layout = n.split("_")[0]
                if owner.setdefault(layout, file.stem) != file.stem:
                    bad.append(f"layout {layout} is in {owner[layout]} and in {file.stem}")
                bad += [f"{domain}/{b}" for b in check_frame(voc, n)]
        for folder, suffix in (
            ("JPEGImages", "jpg"),
            ("Annotations", "xml"),
            ("SegmentationClass", "png"),
            ("SegmentationObject", "png"),
        ):
            if sorted(p.stem for p in (voc / folder).glob(f"*.{suffix}")) != sorted(listed):
                bad.append(f"{domain}/{folder} and the image lists differ")
        total += len(listed)
        if any(int(n[1:5]) >= BENCHMARK_LAYOUTS for n in listed):
            bad.append(f"{domain}: a layout number reaches into the corpus")
    if len(tests) != 1:
        bad.append("the five domains do not share one test list")
    return bad, total


def check_corpus(root: Path) -> tuple[list[str], int]:
    """Problems of the corpus and its number of frames (its layout seeds start at CORPUS_SEED, so it is disjoint)."""
    bad: list[str] = []
    with (root / "captions.csv").open() as f:
        rows = list(csv.DictReader(f))
    boxes = json.loads((root / "boxes.json").read_text())
    for r in rows:
        image = Image.open(root / r["file"])
        image.load()
        if image.size != SIZE or not r["caption"] or r["group"] not in boxes:
            bad.append(f"corpus {r['file']}: wrong size, no caption or no boxes")
    for group, found in boxes.items():
        if any(
            not (0 <= x0 < x1 <= SIZE[0] and 0 <= y0 < y1 <= SIZE[1] and c in CLASS_ID) for x0, y0, x1, y1, c in found
        ):
            bad.append(f"corpus {group}: bad box")
    if sorted(r["file"] for r in rows) != sorted(p.relative_to(root).as_posix() for p in root.glob("s*/*.jpg")):
        bad.append("corpus: captions.csv and the images differ")
    return bad, len(rows)


def main() -> None:
    """Command line; exits with 1 and one line per problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", type=Path, default=Path("data/01_raw/streets"))
    parser.add_argument("--corpus", type=Path, default=Path("data/01_raw/streets_corpus"))
    args = parser.parse_args()
    bad_b, frames_b = check_benchmark(args.benchmark)
    bad_c, frames_c = check_corpus(args.corpus)
    for line in bad_b + bad_c:
        print(line)
    print(f"{frames_b} benchmark frames, {frames_c} corpus frames, {len(bad_b + bad_c)} problems")
    raise SystemExit(1 if bad_b or bad_c else 0)


if __name__ == "__main__":
    main()
