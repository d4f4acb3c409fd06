"""Contact sheets: test frames as rows and domains as columns with boxes, or corpus groups with their captions.

`sheet.py benchmark|corpus --data FOLDER --out FILE.png [--rows N] [--plain]`
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parent))

DOMAINS = ("daytime_clear", "night_clear", "dusk_rainy", "night_rainy", "daytime_foggy")
COLOURS = {
    "person": "#ff3030",
    "rider": "#ff9a20",
    "car": "#30ff50",
    "truck": "#ffe030",
    "bus": "#30c8ff",
    "motor": "#d060ff",
    "bike": "#ff70c0",
}


def boxed(image: Path, xml: Path) -> Image.Image:
    """An image with its annotation drawn on (difficult objects thin and grey)."""
    im = Image.open(image).convert("RGB")
    draw = ImageDraw.Draw(im)
    for ob in ET.parse(xml).getroot().iter("object"):
        xyxy = [int(ob.findtext(f"bndbox/{k}", "0")) - 1 for k in ("xmin", "ymin", "xmax", "ymax")]
        name = ob.findtext("name", "")
        draw.rectangle(xyxy, outline="#a0a0a0" if ob.findtext("difficult") == "1" else COLOURS[name])
    return im


def tile(rows: list[list[Image.Image]], heads: list[str], captions: list[list[str]] | None = None) -> Image.Image:
    """Stacks images into a grid with column heads and optional captions."""
    w, h = rows[0][0].size
    sheet = Image.new("RGB", (w * len(rows[0]), 14 + h * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for c, head in enumerate(heads):
        draw.text((c * w + 4, 1), head, fill="black")
    for r, row in enumerate(rows):
        for c, im in enumerate(row):
            sheet.paste(im, (c * w, 14 + r * h))
            if captions:
                draw.rectangle((c * w, 14 + r * h, c * w + w, 26 + r * h), fill="black")
                draw.text((c * w + 2, 14 + r * h), captions[r][c], fill="white")
    return sheet


def benchmark_sheet(data: Path, rows: int, split: str, skip: int) -> Image.Image:
    """Rows are frames of one split, columns the five domains (one column when only the source has the split)."""
    names = (data / "daytime_clear/VOC2007/ImageSets/Main" / f"{split}.txt").read_text().split()[:: max(1, skip)]
    grid: list[list[Image.Image]] = []
    for n in names[: rows if split == "test" else rows * 5]:
        line = [data / d / "VOC2007" for d in (DOMAINS if split == "test" else DOMAINS[:1])]
        grid.append([boxed(v / "JPEGImages" / f"{n}.jpg", v / "Annotations" / f"{n}.xml") for v in line])
    if split != "test":
        flat = [g[0] for g in grid]
        return tile([flat[k : k + 5] for k in range(0, len(flat) - len(flat) % 5, 5)], [split])
    return tile(grid, list(DOMAINS))


def corpus_sheet(data: Path, rows: int, skip: int) -> Image.Image:
    """Rows are corpus groups, columns the clear day and the drawn weathers."""
    with (data / "captions.csv").open() as f:
        text = {r["file"]: r["caption"] for r in csv.DictReader(f)}
    groups = sorted({f.split("/")[0] for f in text})[:: max(1, skip)][:rows]
    files = ["clear", "w0", "w1", "w2"]
    grid = [[Image.open(data / g / f"{f}.jpg") for f in files] for g in groups]
    return tile(grid, files, [[text[f"{g}/{f}.jpg"] for f in files] for g in groups])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("benchmark", "corpus"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--skip", type=int, default=1)
    parser.add_argument("--split", default="test")
    parser.add_argument("--width", type=int, default=0, help="shrink the sheet to this width")
    args = parser.parse_args()
    if args.what == "benchmark":
        sheet = benchmark_sheet(args.data, args.rows, args.split, args.skip)
    else:
        sheet = corpus_sheet(args.data, args.rows, args.skip)
    if args.width:
        sheet = sheet.resize((args.width, round(sheet.height * args.width / sheet.width)), Image.Resampling.LANCZOS)
        sheet = sheet.point([min(255, (v + 4) // 8 * 8) for v in range(256)] * 3)  # 32 levels: a smaller PNG
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
