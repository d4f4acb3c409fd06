"""Measure the cost of methods relative to ERM and naive mixing: training step and prediction.

    python benchmarks/overhead.py                          # three tasks, appended to the table of results
    python benchmarks/overhead.py --task detection --steps 60

One process runs a step of each method in turn, so that other load slows all of them equally; ratios are medians over
the turns. A step opens its images, computes losses and gradients and updates the weights. Copies of the source images
replace pseudo images, because their content does not affect the cost.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import torch
from memory import append, facts
from project import ROOT, run_parameters
from torch import Tensor

from dg_project.config import Settings, Task
from dg_project.config.paths import ROOT_VARIABLE
from dg_project.core.device import resolve_device, use_threads
from dg_project.data.batches import BatchStream
from dg_project.data.dataset import ManifestDataset
from dg_project.data.manifest import select
from dg_project.data.readers import configured, read_domain
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun
from dg_project.methods import Method
from dg_project.methods.model_folder import build_method
from dg_project.training.optimizer import build_optimizer

RESULTS = Path(__file__).parent / "results" / "overhead.csv"
METHODS = ("erm", "naive", "drsf")
PREDICTED = 8
"""Images per prediction."""


def read_settings(task: str, threads: int) -> Settings:
    """Return the project's parameters for a task."""
    images = {"images_per_step": 32} if task == "classification" else {}
    return Settings.model_validate(run_parameters(task=task, training={"threads": threads, **images}))


def stand_ins(source: pd.DataFrame, domains: list[str]) -> pd.DataFrame:
    """Return rows of pseudo images that are copies of the source images, for each domain."""
    rows = select(source, split="train")
    visible = pd.Series([[1.0] * len(boxes) for boxes in rows["boxes"]], index=rows.index)
    return pd.concat([rows.assign(domain=domain, role="pseudo", source_image_id=rows["image_id"], kept=True, weight=1.0,
                                  image_id=rows["image_id"] + f"_{domain}", candidates=1, ldm_seconds=0.0,
                                  visibility=visible) for domain in domains], ignore_index=True)


def trainer(name: str, settings: Settings, data: TrainingData,
            workspace: Path) -> tuple[Method, Callable[[int], None]]:
    """Return an untrained method and a function that runs its training step i."""
    run = TrainingRun.resolve(name, settings, data, workspace)
    device = resolve_device(settings.training.device)
    method = build_method(run.spec, settings.seed).to(device).to(memory_format=torch.channels_last).train()
    parts = method.model.parts
    source = ManifestDataset(select(run.data.source, split="train"), data.source_root, parts=parts)
    pseudo = None if run.data.pseudo is None or run.data.pseudo_root is None else \
        ManifestDataset(run.data.pseudo, run.data.pseudo_root, data.source_root, parts)
    stream = BatchStream.from_params(settings.training, settings.seed, source, pseudo, run.spec.domains,
                                     run.needs.batches)
    optimizer = build_optimizer(method.parameter_groups(), settings.training)

    def step(i: int) -> None:
        method.train()
        optimizer.zero_grad(set_to_none=True)
        losses = method.losses(stream.batch(i).to(device), 0.5)
        total: Tensor = torch.stack([value for key, value in losses.items() if key.startswith("loss_")]).sum()
        total.backward()
        optimizer.step()

    return method, step


def seconds(device: torch.device, work: Callable[[Any], object], of: Any) -> float:
    """Return the seconds that ``work(of)`` takes."""
    started = time.perf_counter()
    work(of)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def measure(task: str, steps: int, threads: int, workspace: Path) -> list[dict[str, Any]]:
    """Return one table row per method."""
    settings = read_settings(task, threads)
    use_threads(threads)
    device, root = resolve_device(settings.training.device), ROOT / settings.data.root
    source, _ = read_domain(role="source", **configured(settings.data, root, settings.data.source))
    pseudo = stand_ins(source, list(settings.synthesis.domains))
    data = TrainingData(source, root, pseudo, root)
    trainers = {name: trainer(name, settings, data, workspace) for name in METHODS}
    images = [image.to(device) / 255 for image, _ in
              map(ManifestDataset(select(source, split="val"), root).__getitem__, range(PREDICTED))]
    trained: dict[str, list[float]] = {name: [] for name in METHODS}
    predicted: dict[str, list[float]] = {name: [] for name in METHODS}
    warm_up = 5
    for i in range(warm_up + steps):
        for name, (method, step) in trainers.items():
            step_seconds = seconds(device, step, i)
            method.eval()
            with torch.inference_mode():
                predict_seconds = seconds(device, method.predict, images)
            if i >= warm_up:
                trained[name].append(step_seconds)
                predicted[name].append(predict_seconds)

    def ratio(times: dict[str, list[float]], name: str, reference: str) -> float:
        return round(statistics.median(a / b for a, b in zip(times[name], times[reference], strict=True)), 3)

    return [{"task": task, "method": name, "steps": steps, "threads": threads,
             "step_s": round(statistics.median(trained[name]), 4), "step_to_naive": ratio(trained, name, "naive"),
             "predict_ms": round(1000 * statistics.median(predicted[name]) / PREDICTED, 2),
             "predict_to_erm": ratio(predicted, name, "erm"), "device": str(device), **facts()} for name in METHODS]


def main() -> None:
    """Measure the costs and append the rows to the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--task", choices=get_args(Task), action="append", help="may be repeated; default: three tasks")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ[ROOT_VARIABLE] = str(ROOT)
    with tempfile.TemporaryDirectory() as workspace:
        rows = [row for task in options.task or ("detection", "segmentation", "classification")
                for row in measure(task, options.steps, options.threads, Path(workspace))]
    append(rows, RESULTS)


if __name__ == "__main__":
    main()
