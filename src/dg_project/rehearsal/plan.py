"""The plan of a run: what it would make, how long that takes here, and what stands in its way."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import torch

from dg_project.diffusion.checkpoint import read
from dg_project.diffusion.opening import choose_mode
from dg_project.diffusion.user import LDMUser
from dg_project.errors import DGError
from dg_project.parameters import LDMParams, Parameters
from dg_project.plan import check_training, method_class
from dg_project.rehearsal.data import Seen, look
from dg_project.rehearsal.synthesis import SynthesisCost, synthesis_cost
from dg_project.rehearsal.training import TrainingCost, time_training
from dg_project.rehearsal.weights import backbone_weights, diffusion_weights, method_weights
from dg_project.training.device import resolve_device

CACHES = 4 * 2**30
"""Bytes of decoded images that a training keeps at most: 2 GiB of the source, 2 GiB of pseudo domains."""


@dataclass
class Plan:
    """Lines of (subject, what was found), and problems, each with its remedy."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, subject: str, text: str) -> None:
        """Append a line; a subject that repeats is not written again."""
        self.lines.append((subject, text))

    def __str__(self) -> str:
        width = max((len(subject) for subject, _ in self.lines), default=0)
        shown = [f"{subject if k == 0 or subject != self.lines[k - 1][0] else '':<{width}}  {text}"
                 for k, (subject, text) in enumerate(self.lines)]
        return "\n".join([*shown, *(f"PROBLEM  {problem}" for problem in self.problems)])


def rehearse(settings: Parameters, ldm: LDMParams, root: Path, workspace: Path, trainings: Sequence[str],
             synthesis: bool) -> Plan:
    """Find out what a run would do and need.

    Args:
        settings: all parameters, paths located.
        ldm: those of the diffusion model, paths located.
        root: of the data.
        workspace: where the work would be kept.
        trainings: the method of every training that the run consists of.
        synthesis: whether pseudo images would be made.
    """
    plan = Plan()
    seen = look(settings.data, root)
    plan.problems += seen.problems
    _describe_data(plan, settings, seen)
    device = describe_device(plan, settings)
    disk = 0
    if synthesis:
        disk += _describe_synthesis(plan, settings, ldm, seen, root, device)
    if trainings:
        tested = sum(min(number, settings.evaluation.max_images or number)
                     for (_, split), number in seen.counts.items() if split == "test")
        disk += describe_training(plan, settings, seen.train, root, trainings, tested, device)
    describe_disk(plan, disk, workspace)
    return plan


def _describe_data(plan: Plan, settings: Parameters, seen: Seen) -> None:
    for (domain, split), number in seen.counts.items():
        told = ", as expected" if f"{domain}/{split}" in settings.data.expected_counts else ""
        plan.add("data", f"{domain}/{split}: {number:,} images{told}")
    if seen.counts:
        plan.add("data", "lists read and first images checked; `--pipeline=ingestion` checks all")


def _describe_synthesis(plan: Plan, settings: Parameters, ldm: LDMParams, seen: Seen, root: Path,
                        device: torch.device) -> int:
    """Return the bytes that the pseudo images would take."""
    if Path(ldm.checkpoint).is_dir():
        ldm = ldm.model_copy(update={"mode": choose_mode(ldm, read(Path(ldm.checkpoint))).name})
    here = True
    for name, (text, local) in diffusion_weights(ldm).items():
        plan.add("weights", f"{name}: {text}")
        here &= local
    if (first := seen.train) is None:
        plan.add("synthesis", "not estimated: no source image could be read")
        return 0
    try:
        cost = synthesis_cost(settings, ldm, seen.counts[settings.data.source, "train"], first, root,
                              device if here else None)
    except (DGError, RuntimeError) as error:  # torch's out-of-memory is a RuntimeError
        plan.problems.append(f"an image could not be generated: {error}")
        return 0
    plan.add("synthesis", f"at most {cost.images:,} images in {len(settings.synthesis.domains)} domains, "
                          f"{cost.passes:,} passes of the U-Net")
    plan.add("synthesis", _synthesis_time(cost, device))
    return cost.images * cost.image_bytes


def _synthesis_time(cost: SynthesisCost, device: torch.device) -> str:
    if cost.seconds is None:
        return "not timed: the weights are not on this machine yet"
    return (f"{'at most ' if cost.bound else ''}{hours(cost.seconds)}, from images of a few steps timed one by one on "
            f"{device}")


def describe_training(plan: Plan, settings: Parameters, first: pd.DataFrame | None, root: Path,
                      trainings: Sequence[str], tested: int, device: torch.device) -> int:
    """Time every method of a run, and return the bytes that checkpoints and models would take.

    Args:
        plan: gets the lines and the problems.
        settings: those of the trainings.
        first: manifest rows of some source training images; None where none could be read.
        root: folder that their paths are relative to.
        trainings: the method of every training.
        tested: images that each trained model is scored on.
        device: where it is timed.
    """
    text, here = backbone_weights(settings.backbone)
    plan.add("weights", f"backbone {settings.backbone.name}: {text}")
    own = {name: method_weights(name, settings) for name in trainings}
    for parameter, (text, _) in (item for weights in own.values() for item in weights.items()):
        plan.add("weights", f"{parameter}: {text}")
    if first is None:
        plan.add("training", "not estimated: no source image could be read")
        return 0
    if not here:  # timing asks for no trained weights, and nothing is downloaded
        settings = settings.model_copy(update={"backbone": settings.backbone.model_copy(update={"weights": None})})
    disk = 0
    for name, times in Counter(trainings).items():
        if not all(local for _, local in own[name].values()):
            plan.add("training", f"{name}{_times(times)}: not timed: its weights are not on this machine yet")
            continue
        try:
            check_training(method_class(name), settings.training)
            cost = time_training(name, settings, first, root)
        except (DGError, RuntimeError) as error:
            plan.problems.append(f"a step of '{name}' failed: {error}")
            continue
        _describe_method(plan, settings, name, times, cost, tested)
        _check_memory(plan, name, cost, device)
        disk += times * cost.state + cost.weights * 4 * times
    return disk


def _describe_method(plan: Plan, settings: Parameters, name: str, times: int, cost: TrainingCost, tested: int) -> None:
    training = settings.training
    plan.add("training", f"{name}{_times(times)}: {training.max_steps:,} steps of "
                         f"{training.images_per_step} images, {cost.weights / 1e6:.1f} M parameters")
    plan.add("training", f"  {hours(times * training.max_steps * cost.step)}: {cost.step:.2f} s a step (median of "
                         f"{cost.steps} timed on {cost.device} with the first images), validation not counted")
    plan.add("training", f"  scoring {tested:,} test images: {hours(times * tested * cost.predict)}, from one image")
    if issubclass(method_class(name), LDMUser):
        plan.add("training", "  the images that it asks the diffusion model for are not counted")
    kind = "the device's peak" if cost.measured else "counted, kernels need more"
    plan.add("memory", f"{name}: {size(cost.memory)} ({size(cost.state)} weights, gradients, optimiser; "
                       f"{size(cost.activations)} activations, {kind})")


def _times(number: int) -> str:
    return f" x {number}" if number > 1 else ""


def _check_memory(plan: Plan, name: str, cost: TrainingCost, device: torch.device) -> None:
    room = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" \
        else psutil.virtual_memory().available
    if cost.memory > room:
        plan.problems.append(f"'{name}' needs {size(cost.memory)} and {device} has {size(room)}: lower "
                             "training.images_per_step or the image_size of the task")
    if psutil.virtual_memory().available < CACHES:
        plan.add("memory", f"the host has {size(psutil.virtual_memory().available)} free; decoded images may take "
                           f"{size(CACHES)} of it")


def describe_disk(plan: Plan, needed: int, workspace: Path) -> None:
    """Compare the bytes that are needed with those that are free."""
    here = next(folder for folder in [workspace, *workspace.parents] if folder.is_dir())
    free = shutil.disk_usage(here).free
    plan.add("disk", f"about {size(needed)} (images at the size of a source image as PNG, checkpoints, models), "
                     f"{size(free)} free in '{here}'")
    if needed > free:
        plan.problems.append(f"about {size(needed)} are needed and '{here}' has {size(free)}: free some space, or set "
                             "workspace to another disk")


def describe_device(plan: Plan, settings: Parameters) -> torch.device:
    """Say what the work would run on, and return it."""
    device = resolve_device(settings.training.device)
    if device.type != "cuda":
        plan.add("device", f"{device}: hours below are this machine's; an accelerator's are others")
    else:
        facts = torch.cuda.get_device_properties(device)
        plan.add("device", f"{device}: {facts.name}, {size(facts.total_memory)}")
    return device


def hours(seconds: float) -> str:
    """Return a duration in the unit that fits it.

    >>> hours(5400), hours(90), hours(5)
    ('1.5 h', '1.5 min', '5.0 s')
    """
    for limit, unit in ((3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds / limit:,.1f} {unit}"
    return f"{seconds:.1f} s"


def size(number: float) -> str:
    """Return bytes in the unit that fits them.

    >>> size(3 * 2**30), size(512)
    ('3.0 GiB', '0.0 MiB')
    """
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"
