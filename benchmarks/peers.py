"""Compare our speed with that of well-known loops of the same network, and with our own earlier paths.

    python benchmarks/peers.py                            # all cases, appended to the table of results
    python benchmarks/peers.py --case detection --rounds 5
    python benchmarks/peers.py --pacs data/01_raw/PACS    # with the case classification, which needs image folders

The variants of a case take turns in every round, so that a machine whose speed drifts favours none. ``ratio`` is how
many times as fast the first variant (ours) is: the median over the rounds, with their lowest and highest.

``detection``, ``segmentation``: a training step next to torchvision's reference loop, and ours without folded
normalisation. ``classification``: next to DomainBed's ERM loop. ``synthesis``: seconds per image next to diffusers'
own loop over images and its batches, in float32 and bfloat16, and to ours image by image. ``map``: our mAP and
pycocotools'. ``start``: the answer to a wrong pipeline name, and ``import torch, diffusers``. ``idle``, ``busy``:
synthesis with a short spin of OpenMP's threads and without it, ``busy`` next to two busy loops.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from memory import append, facts
from project import ROOT, run_parameters

RESULTS = Path(__file__).parent / "results" / "peers.csv"
SOURCES, PER_SOURCE = 2, 8
"""Source images of one round of synthesis, and images generated from each, as in ``make run``."""
PACS_SIDE = 112
STEPS = ("detection", "segmentation", "classification")
CASES = (*STEPS, "synthesis", "map", "start", "idle", "busy")
BUSY = "while True: pass"
Variants = dict[str, Callable[[], object]]


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def step_variants(task: str, threads: int, pacs: Path | None) -> Variants:
    """Return our training step and the peers'."""
    import peer_loops
    from overhead import read_settings, stand_ins, trainer

    from dg_project.config import Settings
    from dg_project.config.paths import ROOT_VARIABLE
    from dg_project.data.manifest import select
    from dg_project.data.readers import configured, read_domain
    from dg_project.experiments.training_data import TrainingData

    os.environ[ROOT_VARIABLE] = str(ROOT)
    settings = read_settings(task, threads)
    if task == "classification":
        assert pacs is not None
        names = ["art_painting", "cartoon", "photo"]
        settings = Settings.model_validate(run_parameters(
            task=task, data={"reader": "image_folder", "root": str(pacs), "source": "photo", "targets": ["sketch"],
                             "classes": sorted(path.name for path in (pacs / "photo").iterdir()),
                             "splits": {"train": "all[:80%]", "val": "all[80%:90%]", "test": "all[90%:]"},
                             "expected_counts": {}},
            classification={"image_size": [PACS_SIDE, PACS_SIDE], "margin": 0.0},
            backbone={"frozen_stages": 0}, training={"threads": threads, "images_per_step": 24}))
    root = Path(settings.data.root) if pacs and task == "classification" else ROOT / settings.data.root
    source, _ = read_domain(role="source", **configured(settings.data, root, settings.data.source))
    data = TrainingData(source, root, stand_ins(source, list(settings.synthesis.domains)), root)
    workspace = Path(tempfile.mkdtemp())
    rows = select(source, split="train").to_dict("records")

    def ours(folded: bool) -> Callable[[], None]:
        method, step = trainer("erm", settings, data, workspace)
        if not folded:
            method.model.backbone.unfold()
        numbers = iter(range(10**9))
        return lambda: step(next(numbers))

    if task == "classification":
        assert pacs is not None
        peer = peer_loops.classification(settings, [pacs / name for name in names], PACS_SIDE)
        return {"ours": ours(True), "domainbed": peer, "unfolded": ours(False)}
    return {"ours": ours(True), "torchvision": getattr(peer_loops, task)(settings, rows, root), "unfolded": ours(False)}


def synthesis_variants() -> Variants:
    """Return ways to generate ``PER_SOURCE`` images from each of ``SOURCES`` images."""
    import torch
    from PIL import Image

    from dg_project.config import Settings
    from dg_project.diffusion.generator import Generator

    settings = Settings.model_validate(run_parameters())
    ldm = settings.ldm.model_copy(update={"checkpoint": str(ROOT / settings.ldm.checkpoint)})
    folder = ROOT / settings.data.root / settings.data.source / "VOC2007" / "JPEGImages"
    images = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))[:SOURCES]]
    prompts = ([str(domain.prompt).split("|")[-1].strip("{}") for domain in settings.synthesis.domains.values()]
               * PER_SOURCE)[:PER_SOURCE]
    seeds = list(range(PER_SOURCE))

    def generator(dtype: str = "auto") -> Any:
        return Generator.from_params(ldm.model_copy(update={"dtype": dtype}))

    def write(made: list[Image.Image]) -> None:
        for image in made:
            image.save(io.BytesIO(), "png", compress_level=1)

    def ours(together: bool, dtype: str = "auto") -> Callable[[], None]:
        mine = generator(dtype)

        def run() -> None:
            for image in images:
                if together:
                    write(mine.generate([image] * PER_SOURCE, prompts, seeds, steps=ldm.steps))
                else:
                    for prompt, seed in zip(prompts, seeds, strict=True):
                        write(mine.generate([image], [prompt], [seed], steps=ldm.steps))
        return run

    def diffusers(dtype: str, batch: int) -> Callable[[], None]:
        pipeline = generator(dtype).pipeline
        pipeline.vae.disable_slicing()

        def run() -> None:
            for image in images:
                for first in range(0, PER_SOURCE, batch):
                    rows = slice(first, first + batch)
                    write(pipeline(prompts[rows], image=[image] * batch, num_inference_steps=ldm.steps,
                                   guidance_scale=1.0, image_guidance_scale=1.0,
                                   generator=[torch.Generator().manual_seed(seed) for seed in seeds[rows]]).images)
        return run

    return {"ours": ours(True), "one_by_one": ours(False), "before": ours(False, "bfloat16"),
            "diffusers_bfloat16": diffusers("bfloat16", 1), "diffusers_float32": diffusers("float32", 1),
            "diffusers_batch_float32": diffusers("float32", PER_SOURCE),
            "diffusers_batch_bfloat16": diffusers("bfloat16", PER_SOURCE)}


def map_variants() -> Variants:
    """Return our mAP and pycocotools' on the same random boxes, four domains of 250 images and seven classes."""
    import numpy as np
    import pandas as pd
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from dg_project.data.manifest import NO_MASKS
    from dg_project.evaluation.detection import BoxScorer
    from dg_project.evaluation.scorer import score_predictions

    rng, classes = np.random.default_rng(0), [f"class {n}" for n in range(7)]
    truth, found = [], []
    for domain in ("a", "b", "c", "d"):
        for i in range(250):
            corner = rng.integers(0, 250, (6, 2)).astype(float)
            boxes = np.concatenate([corner, corner + rng.integers(8, 60, (6, 2))], 1)
            near = np.concatenate([boxes + rng.normal(0, 3, boxes.shape), boxes + 40, boxes + 90])
            truth.append({"image_id": f"{i}", "domain": domain, "split": "test", "role": "target", "image": f"{i}.png",
                          "width": 400, "height": 400, "boxes": boxes.tolist(),
                          "labels": rng.integers(1, 8, 6).tolist(), "difficult": [False] * 6, "sha256": "",
                          **NO_MASKS})
            found.append({"domain": domain, "image_id": f"{i}", "boxes": near.tolist(),
                          "labels": rng.integers(1, 8, len(near)).tolist(), "scores": rng.random(len(near)).tolist()})
    manifest, predictions = pd.DataFrame(truth), pd.DataFrame(found)

    def xywh(boxes: list[list[float]]) -> Iterator[list[float]]:
        return ([x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in boxes)

    def theirs() -> None:
        for domain in ("a", "b", "c", "d"):
            labelled = [row for row in truth if row["domain"] == domain]
            detected = [row for row in found if row["domain"] == domain]
            with contextlib.redirect_stdout(io.StringIO()):
                coco = COCO()
                coco.dataset = {
                    "images": [{"id": int(row["image_id"])} for row in labelled],
                    "categories": [{"id": n} for n in range(1, 8)],
                    "annotations": [{"id": 6 * k + j + 1, "image_id": int(row["image_id"]), "category_id": label,
                                     "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                                    for k, row in enumerate(labelled)
                                    for j, (label, box) in enumerate(zip(row["labels"], xywh(row["boxes"]),
                                                                         strict=True))]}
                coco.createIndex()
                results = coco.loadRes([{"image_id": int(row["image_id"]), "category_id": label, "bbox": box,
                                         "score": score} for row in detected
                                        for label, box, score in zip(row["labels"], xywh(row["boxes"]), row["scores"],
                                                                     strict=True)])
                evaluator = COCOeval(coco, results, "bbox")
                evaluator.evaluate()
                evaluator.accumulate()
                evaluator.summarize()

    return {"ours": lambda: score_predictions(BoxScorer(), predictions, manifest, classes, Path(), None),
            "pycocotools": theirs}


def start_variants() -> Variants:
    """Return whole commands: a wrong pipeline name, a list of the pipelines, and a plain import of the libraries."""
    kedro = Path(sys.executable).with_name("kedro")
    commands = {"wrong_pipeline": [str(kedro), "run", "--pipeline=dsrf"],
                "registry_list": [str(kedro), "registry", "list"],
                "import_torch_diffusers": [sys.executable, "-c", "import torch, torchvision, diffusers, timm"]}

    def run(command: list[str]) -> Callable[[], None]:
        return lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=False) and None

    return {name: run(command) for name, command in commands.items()}


def spin_variants() -> Variants:
    """Return synthesis in a process of its own: with our spin count, with libgomp's default, with passive waiting."""
    choices: dict[str, dict[str, str]] = {
        "ours": {}, "openmp_default": {"GOMP_SPINCOUNT": "300000"}, "passive": {"OMP_WAIT_POLICY": "passive"}}

    def run(choice: dict[str, str]) -> Callable[[], float]:
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | choice
        command = [sys.executable, __file__, "--inside"]

        def once() -> float:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            return float(json.loads(done.stdout.splitlines()[-1]))
        return once

    return {name: run(choice) for name, choice in choices.items()}


def compare(case: str, variants: Variants, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Return one row per variant: its median time, and how many times as fast the first variant is."""
    own_clock = case in ("idle", "busy")
    if not own_clock and case != "start":
        for work in variants.values():  # warm up
            work()
    times = [{name: float(str(work())) if own_clock else seconds(work) for name, work in variants.items()}
             for _ in range(rounds)]
    first, rows = next(iter(variants)), []
    per = SOURCES * PER_SOURCE if case in ("synthesis", "idle", "busy") else 1
    for name in variants:
        ratios = [row[name] / row[first] for row in times]
        rows.append({"case": case, "variant": name, "threads": threads, "rounds": rounds,
                     "seconds": round(median(row[name] for row in times) / per, 4),
                     "ratio": round(median(ratios), 2), "low": round(min(ratios), 2), "high": round(max(ratios), 2)})
    return [row | facts() | {name: version(name) for name in ("torch", "torchvision", "diffusers")} for row in rows]


def run_case(case: str, rounds: int, threads: int, pacs: Path | None) -> list[dict[str, Any]]:
    """Measure one case."""
    from dg_project.core.device import use_threads

    use_threads(threads)
    if case in STEPS:
        return compare(case, step_variants(case, threads, pacs), rounds, threads)
    if case in ("idle", "busy"):
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 if case == "busy" else 0)]
        try:
            return compare(case, spin_variants(), rounds, threads)
        finally:
            for process in others:
                process.kill()
    variants = {"synthesis": synthesis_variants, "map": map_variants, "start": start_variants}[case]()
    return compare(case, variants, rounds, threads)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, help="default: 15 steps, 3 of the longer cases")
    parser.add_argument("--threads", type=int, action="append", help="may be repeated; default: 1 and 2 for steps")
    parser.add_argument("--case", choices=CASES, action="append", help="only this case (repeatable)")
    parser.add_argument("--pacs", type=Path, help="folder of PACS, for the case classification")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        work = synthesis_variants()["ours"]
        work()
        print(json.dumps(seconds(work)))
        return
    for case in options.case or CASES:
        if case == "classification" and options.pacs is None:
            print("classification is left out: give --pacs")
            continue
        for threads in options.threads or ((1, 2) if case in STEPS else (os.cpu_count() or 1,)):
            rounds = options.rounds or (15 if case in STEPS else 3)
            append(run_case(case, rounds, threads, options.pacs and options.pacs.resolve()), RESULTS)


if __name__ == "__main__":
    main()
