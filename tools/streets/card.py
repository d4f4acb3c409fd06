"""The data card: counts images and boxes and rewrites the tables between the markers of docs/streets.md."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

CLASSES = ("person", "rider", "car", "truck", "bus", "motor", "bike")
DOMAINS = ("daytime_clear", "night_clear", "dusk_rainy", "night_rainy", "daytime_foggy")
BEGIN, END = "<!-- card:begin -->", "<!-- card:end -->"


def megabytes(folder: Path) -> float:
    """Size of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def split_row(voc: Path, split: str) -> list[str]:
    """Counts of one split of one domain."""
    names = (voc / "ImageSets/Main" / f"{split}.txt").read_text().split()
    boxes: Counter[str] = Counter()
    difficult = 0
    sides: list[int] = []
    for n in names:
        for ob in ET.parse(voc / "Annotations" / f"{n}.xml").getroot().iter("object"):
            if ob.findtext("difficult") == "1":
                difficult += 1
                continue
            boxes[ob.findtext("name", "")] += 1
            x0, y0, x1, y1 = (int(ob.findtext(f"bndbox/{k}", "0")) for k in ("xmin", "ymin", "xmax", "ymax"))
            sides.append(max(x1 - x0, y1 - y0) + 1)
    layouts = len({n.split("_")[0] for n in names})
    sides.sort()
    middle = f"{sides[len(sides) // 10]} / {sides[len(sides) // 2]} / {sides[len(sides) * 9 // 10]}" if sides else "-"
    counts = [str(boxes[c]) for c in CLASSES]
    return [
        str(len(names)),
        str(layouts),
        *counts,
        str(difficult),
        f"{sum(boxes.values()) / max(1, len(names)):.1f}",
        middle,
    ]


def benchmark_table(root: Path) -> list[str]:
    """Markdown table of every domain and split."""
    head = ["domain", "split", "images", "layouts", *CLASSES, "difficult", "boxes / image", "longer side, 10/50/90 %"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for domain in DOMAINS:
        for split in ("train", "val", "test", "adapt"):
            if (root / domain / "VOC2007/ImageSets/Main" / f"{split}.txt").exists():
                lines.append("| " + " | ".join([domain, split, *split_row(root / domain / "VOC2007", split)]) + " |")
    return lines


def corpus_table(root: Path) -> list[str]:
    """Markdown table of the corpus: how many frames have each kind of weather."""
    with (root / "captions.csv").open() as f:
        rows = list(csv.DictReader(f))
    drawn = [r for r in rows if not r["file"].endswith("clear.jpg")]
    kinds = {
        "night": lambda r: float(r["sun"]) < -5,
        "dusk": lambda r: -5 <= float(r["sun"]) < 9,
        "rain": lambda r: float(r["rain"]) > 0,
        "fog": lambda r: float(r["fog"]) > 0.011,
        "snow": lambda r: float(r["snow"]) > 0,
        "overcast, nothing else": lambda r: "overcast" in r["caption"],
    }
    lines = ["| groups | frames | drawn weathers | " + " | ".join(kinds) + " |", "|" + "---|" * (3 + len(kinds))]
    shares = [f"{100 * sum(map(k, drawn)) / len(drawn):.0f} %" for k in kinds.values()]
    lines.append(f"| {len({r['group'] for r in rows})} | {len(rows)} | {len(drawn)} | " + " | ".join(shares) + " |")
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", type=Path, default=Path("data/01_raw/streets"))
    parser.add_argument("--corpus", type=Path, default=Path("data/01_raw/streets_corpus"))
    parser.add_argument("--doc", type=Path, default=Path("docs/streets.md"))
    args = parser.parse_args()
    lines = [
        f"Benchmark ({megabytes(args.benchmark):.1f} MB; boxes per class without the difficult ones):",
        "",
        *benchmark_table(args.benchmark),
        "",
        f"Corpus ({megabytes(args.corpus):.1f} MB; shares of the drawn weathers, which overlap):",
        "",
        *corpus_table(args.corpus),
    ]
    text = args.doc.read_text()
    before, rest = text.split(BEGIN)
    args.doc.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
