"""Renders the Streets benchmark or the diffusion corpus: `render.py benchmark|corpus --out FOLDER --part i/n`.

Resumable (a finished frame is skipped, files are written aside and renamed) and deterministic by layout seed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cameras
import engine
import labels
import lighting
import numpy as np
import post
from furniture import build_furniture
from materials import Knobs
from PIL import Image
from street import build_street
from traffic import Instance, build_traffic
from weather import DOMAINS, Weather, benchmark_weather, caption, corpus_clear, corpus_weather

SAMPLES, QUALITY, CORPUS_QUALITY = 4, 90, 79
CORPUS_SEED = 500_000  # corpus layouts start here; benchmark layouts are below


@dataclass(frozen=True)
class Split:
    """Layouts [first, first + layouts) with a number of cameras each, in some of the domains."""

    name: str
    first: int
    layouts: int
    cameras: int
    domains: tuple[str, ...]


SPLITS = (
    Split("train", 0, 80, 3, DOMAINS[:1]),
    Split("val", 80, 20, 3, DOMAINS[:1]),
    Split("test", 100, 40, 2, DOMAINS),
    Split("adapt", 140, 30, 2, DOMAINS[1:]),
    Split("weather", 0, 80, 3, DOMAINS[1:]),  # the layouts of train in the targets' weather: for an oracle
)
CORPUS_SCENES, CORPUS_CAMERAS, CORPUS_WEATHERS = 80, 2, 3


class Layout:
    """One generated street with its cameras, ready to be rendered in any weather."""

    def __init__(self, seed: int, n_cameras: int, corpus: bool, samples: int) -> None:
        rng = random.Random(seed)
        scene = engine.reset(samples, threads=1)
        self.knobs = Knobs()
        street = build_street(rng, self.knobs)
        build_furniture(rng, street, self.knobs)
        traffic = build_traffic(rng, street, self.knobs)
        self.instances: list[Instance] = traffic.instances
        self.poses = cameras.choose(rng, street, traffic, n_cameras, corpus)
        self.lights = lighting.build_lights(street, traffic, self.knobs)
        self.tracer = engine.Tracer(scene)

    def shoot(self, pose: cameras.Pose, weather: Weather) -> tuple[Image.Image, np.ndarray]:
        """Renders one frame: the finished 8-bit image and the index map."""
        cameras.place(pose)
        lighting.apply(self.lights, weather, pose)
        rgb, depth, ids = self.tracer.render()
        return Image.fromarray(post.finish(rgb, depth, weather)), ids


def write(path: Path, data: bytes) -> None:
    """Writes aside and renames, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(data)
    aside.replace(path)


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    """An image file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, fmt, optimize=True, **options)
    return buffer.getvalue()


def render_benchmark_layout(out: Path, split: Split, seed: int, samples: int) -> int:
    """Renders the missing frames of one layout; the JPEG is written last and marks a frame as finished."""
    wanted = [(c, d) for c in range(split.cameras) for d in split.domains]
    todo = [(c, d) for c, d in wanted if not (out / d / "VOC2007/JPEGImages" / f"l{seed:04d}_c{c}.jpg").exists()]
    if not todo:
        return 0
    layout = Layout(seed, split.cameras, corpus=False, samples=samples)
    for c, domain in todo:
        if c >= len(layout.poses):
            continue
        name, pose, voc = f"l{seed:04d}_c{c}", layout.poses[c], out / domain / "VOC2007"
        weather = benchmark_weather(domain, random.Random(f"{seed}/{c}/{domain}"))
        image, ids = layout.shoot(pose, weather)
        found = labels.boxes(ids, layout.instances, pose)
        write(
            voc / "Annotations" / f"{name}.xml",
            labels.voc_xml(name, domain, found, {"layout": str(seed), "camera": str(c)}),
        )
        write(
            voc / "SegmentationClass" / f"{name}.png",
            encoded(labels.semantic_mask(ids, layout.instances), "PNG"),
        )
        write(voc / "SegmentationObject" / f"{name}.png", encoded(labels.instance_mask(ids, found), "PNG"))
        write(voc / "JPEGImages" / f"{name}.jpg", encoded(image, "JPEG", quality=QUALITY, progressive=True))
    layout.tracer.close()
    return len(todo)


def render_corpus_scene(out: Path, scene: int, samples: int) -> int:
    """Renders one corpus scene: per camera a clear day and three drawn weathers; `meta.json` is written last."""
    groups = [(c, out / f"s{scene:04d}_c{c}") for c in range(CORPUS_CAMERAS)]
    if all((g / "meta.json").exists() for _, g in groups):
        return 0
    layout, frames = Layout(CORPUS_SEED + scene, CORPUS_CAMERAS, corpus=True, samples=samples), 0
    for c, folder in groups:
        if (folder / "meta.json").exists() or c >= len(layout.poses):
            continue
        rng = random.Random(f"corpus/{scene}/{c}")
        drawn = {"clear": corpus_clear(rng)} | {f"w{k}": corpus_weather(rng) for k in range(CORPUS_WEATHERS)}
        found: list[labels.Box] = []
        for file, weather in drawn.items():
            image, ids = layout.shoot(layout.poses[c], weather)
            found = found or labels.boxes(ids, layout.instances, layout.poses[c])
            write(folder / f"{file}.jpg", encoded(image, "JPEG", quality=CORPUS_QUALITY, progressive=True))
            frames += 1
        meta = {
            "weather": {
                f: {k: round(v, 4) for k, v in asdict(w).items()} | {"caption": caption(w)} for f, w in drawn.items()
            },
            "boxes": [[b.xyxy[0], b.xyxy[1], b.xyxy[2] + 1, b.xyxy[3] + 1, b.name] for b in found if not b.difficult],
        }
        write(folder / "meta.json", json.dumps(meta).encode())
    layout.tracer.close()
    return frames


def index_benchmark(out: Path) -> None:
    """Writes the image lists of every split from the frames that exist."""
    for domain in DOMAINS:
        voc = out / domain / "VOC2007"
        names = sorted(p.stem for p in voc.glob("JPEGImages/*.jpg"))
        for split in SPLITS:
            inside = [n for n in names if split.first <= int(n[1:5]) < split.first + split.layouts]
            if domain in split.domains and inside:
                write(voc / "ImageSets/Main" / f"{split.name}.txt", ("\n".join(inside) + "\n").encode())


def index_corpus(out: Path) -> None:
    """Collects every group's meta.json into captions.csv and boxes.json."""
    rows: list[dict[str, object]] = []
    found: dict[str, object] = {}
    for meta in sorted(out.glob("s*/meta.json")):
        data = json.loads(meta.read_text())
        found[meta.parent.name] = data["boxes"]
        for file, w in data["weather"].items():
            text = w.pop("caption")
            rows.append({"file": f"{meta.parent.name}/{file}.jpg", "group": meta.parent.name, "caption": text} | w)
    if not rows:
        return
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(out / "captions.csv", buffer.getvalue().encode())
    write(out / "boxes.json", json.dumps(found).encode())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("benchmark", "corpus"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1", help="i/n: render every n-th layout, starting with the i-th")
    parser.add_argument("--splits", default="train,val,test", help="benchmark: comma-separated splits")
    parser.add_argument(
        "--limit", type=int, default=10**6, help="first so many layouts of each split (or corpus scenes)"
    )
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--index-only", action="store_true", help="only rewrite the lists from the frames that exist")
    args = parser.parse_args()
    i, n = (int(v) for v in args.part.split("/"))
    start, frames = time.time(), 0
    jobs: list[tuple[Split | None, int]] = [(None, s) for s in range(min(CORPUS_SCENES, args.limit))]
    if args.what == "benchmark":
        chosen = [s for name in args.splits.split(",") for s in SPLITS if s.name == name]
        jobs = [(s, s.first + k) for s in chosen for k in range(min(s.layouts, args.limit))]
    for split, seed in [] if args.index_only else jobs[i::n]:
        done = (
            render_benchmark_layout(args.out, split, seed, args.samples)
            if split
            else render_corpus_scene(args.out, seed, args.samples)
        )
        frames += done
        if done:
            wall, cpu = (time.time() - start) / frames, time.process_time() / frames
            name = split.name if split else "scene"
            print(f"{name} {seed}: {frames} frames, {wall:.2f} s each ({cpu:.2f} s of CPU)", flush=True)
    (index_benchmark if args.what == "benchmark" else index_corpus)(args.out)


if __name__ == "__main__":
    main()
