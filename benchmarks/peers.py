"""Compare the speed of the synthesis with plain diffusers loops, and of waiting threads on a busy machine.

    python benchmarks/peers.py                 # all cases, appended to the table of results
    python benchmarks/peers.py --rounds 5      # more rounds

The variants of a case take turns, each time in a new process, so that a machine whose speed drifts does not favour one.
A ratio is the median of the ratios within the rounds; ``low`` and ``high`` are their extremes.

``synthesis``: images per second of the embedded diffusion model. ``ours``: all images of a source together.
``one_by_one``: the same images, each alone, as before. ``diffusers``: its own pipeline, called for every image.
``threads_idle``, ``threads_busy``: ``ours`` with and without the short spin of OpenMP's threads, on an idle machine and
next to two busy loops.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from memory import append, facts
from project import ROOT, run_parameters

RESULTS = Path(__file__).parent / "results" / "peers.csv"
SOURCES, PER_SOURCE = 4, 8
"""Source images, and images generated from each, as in ``make run``."""
CASES = {
    "synthesis": ("ours", "one_by_one", "diffusers"),
    "threads_idle": ("ours", "openmp_default"),
    "threads_busy": ("ours", "openmp_default"),
}
BUSY = "while True: pass"


def images_per_second(variant: str) -> float:
    """Generate all images once to warm up and once on the clock, in this process."""
    import torch
    from PIL import Image

    from dg_project.config import Settings
    from dg_project.diffusion.generator import Generator

    settings = Settings.model_validate(run_parameters())
    ldm = settings.ldm.model_copy(update={"checkpoint": str(ROOT / settings.ldm.checkpoint)})
    generator = Generator.from_params(ldm)
    folder = ROOT / settings.data.root / settings.data.source / "VOC2007" / "JPEGImages"
    images = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))[:SOURCES]]
    prompts = [str(domain.prompt).split("|")[-1].strip("{}") for domain in settings.synthesis.domains.values()] * 2

    def alone(image: Image.Image) -> None:
        for seed, prompt in enumerate(prompts[:PER_SOURCE]):
            generator.generate([image], [prompt], [seed], steps=ldm.steps)

    def by_diffusers(image: Image.Image) -> None:
        for seed, prompt in enumerate(prompts[:PER_SOURCE]):
            generator.pipeline(prompt, image=image, num_inference_steps=ldm.steps, guidance_scale=1.0,
                               image_guidance_scale=1.0, generator=torch.Generator().manual_seed(seed))

    def together(image: Image.Image) -> None:
        generator.generate([image] * PER_SOURCE, prompts[:PER_SOURCE], list(range(PER_SOURCE)), steps=ldm.steps)

    run = {"one_by_one": alone, "diffusers": by_diffusers}.get(variant, together)
    run(images[0])
    started = time.perf_counter()
    for image in images:
        run(image)
    return len(images) * PER_SOURCE / (time.perf_counter() - started)


def measure(variant: str) -> float:
    """Return the images per second of a variant, measured in a new process."""
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    if variant == "openmp_default":
        # Any value of the spin count is a choice; this is libgomp's own with threads that may wait actively.
        environment["GOMP_SPINCOUNT"] = "300000"
    done = subprocess.run([sys.executable, __file__, "--inside", variant], check=True, stdout=subprocess.PIPE,
                          text=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1]))


def compare(case: str, rounds: int) -> list[dict[str, Any]]:
    """Return one row per variant: its median speed, and the ratio of the first variant's speed to it."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 if case == "threads_busy" else 0)]
    try:
        measured = [{variant: measure(variant) for variant in CASES[case]} for _ in range(rounds)]
    finally:
        for process in busy:
            process.kill()
    first = CASES[case][0]
    rows = []
    for variant in CASES[case]:
        ratios = [row[first] / row[variant] for row in measured]
        rows.append({"case": case, "variant": variant, "rounds": rounds,
                     "images_per_second": round(median(row[variant] for row in measured), 2),
                     "ratio": round(median(ratios), 2), "low": round(min(ratios), 2), "high": round(max(ratios), 2)})
    return [row | facts() | {name: version(name) for name in ("torch", "diffusers")} for row in rows]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, action="append", help="only this case (repeatable)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(images_per_second(options.inside)))
        return
    for case in options.case or CASES:
        append(compare(case, options.rounds), RESULTS)


if __name__ == "__main__":
    main()
