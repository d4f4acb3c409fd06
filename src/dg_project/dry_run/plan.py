"""Plan a run without running it: what it would make, how long that takes here, and its problems."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import torch

from dg_project.config import DataParams, LDMParams, LeaveOneOutParams, Settings
from dg_project.core.device import resolve_device
from dg_project.core.errors import DGError
from dg_project.data.readers import configured, count_domain, read_domain
from dg_project.diffusion.checkpoint import read
from dg_project.diffusion.opening import choose_mode
from dg_project.dry_run.timing import SynthesisCost, TrainingCost, synthesis_cost, time_generator, time_training
from dg_project.dry_run.weights import backbone_weights, diffusion_weights, method_weights
from dg_project.experiments.fold_generation import fold_generation, generates, trains_on_pseudo_images
from dg_project.experiments.leave_one_out import (
    Fold,
    chosen_methods,
    count_folder,
    fold_settings,
    folds,
    layout,
    read_folder,
)
from dg_project.methods import method_class
from dg_project.methods.base import check_batches

FIRST = 2
"""Images of each split that are decoded and checked as in an ingestion."""


@dataclass
class DataFound:
    """Images that the readers list.

    Attributes:
        counts: listed images by (domain, split).
        first: manifest rows of the first images of the source.
        problems: one message per domain that cannot be read.
    """

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    first: pd.DataFrame | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def train(self) -> pd.DataFrame | None:
        """The first training images, or None if no source image could be read."""
        rows = None if self.first is None else self.first[self.first["split"] == "train"]
        return None if rows is None or rows.empty else rows


def find_data(data: DataParams, root: Path) -> DataFound:
    """Count and check the images of every domain; a domain that cannot be read becomes a problem."""
    seen = DataFound()
    for domain in [data.source, *data.targets]:
        reading = configured(data, root, domain)
        try:
            counts = count_domain(**reading)
            rows, skipped = read_domain(role="source" if domain == data.source else "target",
                                        limits=dict.fromkeys(counts, FIRST), in_order=True, **reading)
        except DGError as error:
            seen.problems.append(str(error))
            continue
        if data.max_train and domain == data.source and "train" in counts:
            counts["train"] = min(counts["train"], data.max_train)
        seen.counts |= {(domain, split): number for split, number in counts.items()}
        seen.problems += skipped if data.on_bad_sample == "stop" else []
        if domain == data.source:
            seen.first = rows
    return seen


CACHES = 4 * 2**30
"""Most bytes of decoded images that a training keeps: 2 GiB of the source, 2 GiB of pseudo domains."""


@dataclass
class RunPlan:
    """Lines of (subject, text), problems, each with its remedy, and the seconds of what was timed."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, subject: str, text: str) -> None:
        """Append a line; a subject that repeats is not written again."""
        self.lines.append((subject, text))

    def __str__(self) -> str:
        width = max((len(subject) for subject, _ in self.lines), default=0)
        shown = [f"{subject if k == 0 or subject != self.lines[k - 1][0] else '':<{width}}  {text}"
                 for k, (subject, text) in enumerate(self.lines)]
        if self.seconds:
            shown.append(f"{'total':<{width}}  about {hours(self.seconds)} on this machine for all that is timed above")
        return "\n".join([*shown, *(f"PROBLEM  {problem}" for problem in self.problems)])


def plan_run(settings: Settings, ldm: LDMParams, root: Path, workspace: Path, trainings: Sequence[str],
             synthesis: bool) -> RunPlan:
    """Return the plan of a run.

    Args:
        settings: all parameters, paths located.
        ldm: parameters of the diffusion model, paths located.
        root: data root.
        workspace: folder of cached work.
        trainings: method name of every training of the run.
        synthesis: whether the run makes pseudo images.
    """
    plan = RunPlan()
    seen = find_data(settings.data, root)
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


def _describe_data(plan: RunPlan, settings: Settings, seen: DataFound) -> None:
    for (domain, split), number in seen.counts.items():
        told = ", as expected" if f"{domain}/{split}" in settings.data.expected_counts else ""
        plan.add("data", f"{domain}/{split}: {number:,} images{told}")
    if seen.counts:
        plan.add("data", "lists read and first images checked; `--pipeline=ingestion` checks all")


def _describe_synthesis(plan: RunPlan, settings: Settings, ldm: LDMParams, seen: DataFound, root: Path,
                        device: torch.device) -> int:
    """Add the synthesis; return the bytes of its pseudo images."""
    painted = settings.synthesis.generator == "ldm"
    here = painted and _describe_diffusion(plan, ldm)
    if (first := seen.train) is None:
        plan.add("synthesis", "not estimated: no source image could be read")
        return 0
    sources = seen.counts[settings.data.source, "train"]
    try:
        cost = (synthesis_cost(settings, _with_mode(ldm), sources, first, root, device if here else None) if painted
                else time_generator(settings, sources, first, root))
    except (DGError, RuntimeError) as error:  # torch's out-of-memory is a RuntimeError
        plan.problems.append(f"an image could not be generated: {error}")
        return 0
    how = f"{cost.passes:,} passes of the U-Net" if painted else f"by {settings.synthesis.generator}"
    plan.add("synthesis", f"at most {cost.images:,} images in {len(settings.synthesis.domains)} domains, {how}")
    plan.add("synthesis", _synthesis_time(cost, device) if painted else
             f"{hours(cost.seconds or 0)}, from one image of each domain made and written on the CPU")
    plan.seconds += cost.seconds or 0
    return cost.images * cost.image_bytes


def _describe_diffusion(plan: RunPlan, ldm: LDMParams) -> bool:
    """Add the weights of the diffusion model; return whether all are on this machine."""
    found = diffusion_weights(ldm)
    for name, (text, _) in found.items():
        plan.add("weights", f"{name}: {text}")
    return all(local for _, local in found.values())


def _with_mode(ldm: LDMParams) -> LDMParams:
    """Return the parameters with the mode of a checkpoint that is on this machine."""
    if not Path(ldm.checkpoint).is_dir():
        return ldm
    return ldm.model_copy(update={"mode": choose_mode(ldm, read(Path(ldm.checkpoint))).name})


def _synthesis_time(cost: SynthesisCost, device: torch.device) -> str:
    if cost.seconds is None:
        return "not timed: the weights are not on this machine yet"
    return (f"{'at most ' if cost.bound else ''}{hours(cost.seconds)}, from images of a few steps timed one by one on "
            f"{device}")


def describe_training(plan: RunPlan, settings: Settings, first: pd.DataFrame | None, root: Path,
                      trainings: Sequence[str], tested: int, device: torch.device) -> int:
    """Time every method of a run; return the bytes of checkpoints and models.

    Args:
        plan: gets lines and problems.
        settings: settings of the trainings.
        first: manifest rows of some source training images, or None.
        root: folder that their paths are relative to.
        trainings: method name of every training.
        tested: number of images that each model is scored on.
        device: torch device.
    """
    text, here = backbone_weights(settings.backbone)
    plan.add("weights", f"backbone {settings.backbone.name}: {text}")
    own = {name: method_weights(name, settings) for name in trainings}
    for parameter, (text, _) in (item for weights in own.values() for item in weights.items()):
        plan.add("weights", f"{parameter}: {text}")
    if first is None:
        plan.add("training", "not estimated: no source image could be read")
        return 0
    if not here:  # timing needs no trained weights, and nothing is downloaded
        settings = settings.model_copy(update={"backbone": settings.backbone.model_copy(update={"weights": None})})
    disk = 0
    for name, times in Counter(trainings).items():
        if not all(local for _, local in own[name].values()):
            plan.add("training", f"{name}{_times(times)}: not timed: its weights are not on this machine yet")
            continue
        try:
            check_batches(method_class(name), settings.training)
            cost = time_training(name, settings, first, root)
        except (DGError, RuntimeError) as error:
            plan.problems.append(f"a step of '{name}' failed: {error}")
            continue
        _describe_method(plan, settings, name, times, cost, tested)
        _check_memory(plan, name, cost, device)
        disk += times * cost.state + cost.weights * 4 * times
    return disk


def _describe_method(plan: RunPlan, settings: Settings, name: str, times: int, cost: TrainingCost, tested: int) -> None:
    training = settings.training
    plan.add("training", f"{name}{_times(times)}: {training.max_steps:,} steps of "
                         f"{training.images_per_step} images, {cost.weights / 1e6:.1f} M parameters")
    plan.add("training", f"  {hours(times * training.max_steps * cost.step)}: {cost.step:.2f} s a step (median of "
                         f"{cost.steps} timed on {cost.device} with the first images), validation not counted")
    plan.add("training", f"  scoring {tested:,} test images: {hours(times * tested * cost.predict)}, from one image")
    plan.seconds += times * (training.max_steps * cost.step + tested * cost.predict)
    if method_class(name).needs.ldm != "none":
        plan.add("training", "  images that it generates with the diffusion model are not counted")
    kind = "the device's peak" if cost.measured else "counted, kernels need more"
    plan.add("memory", f"{name}: {size(cost.memory)} ({size(cost.state)} weights, gradients, optimiser; "
                       f"{size(cost.activations)} activations, {kind})")


def _times(number: int) -> str:
    return f" x {number}" if number > 1 else ""


def _check_memory(plan: RunPlan, name: str, cost: TrainingCost, device: torch.device) -> None:
    room = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" \
        else psutil.virtual_memory().available
    if cost.memory > room:
        plan.problems.append(f"'{name}' needs {size(cost.memory)} and {device} has {size(room)}: lower "
                             "training.images_per_step or the image_size of the task")
    if psutil.virtual_memory().available < CACHES:
        plan.add("memory", f"the host has {size(psutil.virtual_memory().available)} free; decoded images may take "
                           f"{size(CACHES)} of it")


def describe_disk(plan: RunPlan, needed: int, workspace: Path) -> None:
    """Compare the needed bytes with the free ones."""
    here = next(folder for folder in [workspace, *workspace.parents] if folder.is_dir())
    free = shutil.disk_usage(here).free
    plan.add("disk", f"about {size(needed)} (images at the size of a source image as PNG, checkpoints, models), "
                     f"{size(free)} free in '{here}'")
    if needed > free:
        plan.problems.append(f"about {size(needed)} are needed and '{here}' has {size(free)}: free some space, or set "
                             "workspace to another disk")


def describe_device(plan: RunPlan, settings: Settings) -> torch.device:
    """Add the device and return it."""
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


def plan_folds(settings: Settings, root: Path, workspace: Path) -> RunPlan:
    """Return the plan of ``--pipeline=leave_one_out``; see ``plan_run``.

    Args:
        settings: all parameters, paths located.
        root: folder of the domains.
        workspace: folder of cached work.

    Raises:
        ParameterError: a method cannot take part.
    """
    plan, params = RunPlan(), settings.leave_one_out
    methods = chosen_methods(params, settings.method)
    try:
        domains, classes = layout(root, params, settings.data.ignore_classes)
    except DGError as error:
        plan.problems.append(str(error))
        return plan
    listed, first = _look(plan, settings, root, domains, classes)
    device = describe_device(plan, settings)
    if listed is None or first is None:
        plan.add("folds", "not planned: not every domain could be read")
        return plan
    cells = len(domains) * len(params.seeds)
    tested = _describe_folds(plan, params, listed, methods, settings.training.max_steps)
    held_out = domains[0]  # any: the cost of a step is that of each fold
    fold = Fold(held_out, first[first["domain"] != held_out], first[first["domain"] == held_out])
    one = fold_settings(settings, fold, classes, params.seeds[0])
    if any(generates(name, settings) for name in methods):
        for parameter, (text, _) in diffusion_weights(settings.ldm).items():
            plan.add("weights", f"{parameter}: {text}")
        one = fold_generation(one, held_out, [name for name in domains if name != held_out])
    if any(trains_on_pseudo_images(name, settings) for name in methods):
        plan.add("synthesis", "the pseudo images of every fold are not counted")
    disk = describe_training(plan, one, fold.source, root, [name for name in methods for _ in range(cells)], tested,
                             device)
    describe_disk(plan, disk, workspace)
    return plan


def _look(plan: RunPlan, settings: Settings, root: Path, domains: list[str],
          classes: list[str]) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Count every domain and check its first images; return a row per image and the first rows, if all can be read."""
    counts: dict[str, int] = {}
    first: list[pd.DataFrame] = []
    for name in domains:
        try:
            counts[name] = count_folder(root, name, classes, settings.data)
            rows, skipped = read_folder(root, name, classes, settings.data, FIRST)
        except DGError as error:
            plan.problems.append(str(error))
            continue
        plan.add("data", f"{name}: {counts[name]:,} images")
        plan.problems += skipped if settings.data.on_bad_sample == "stop" else []
        first.append(rows.assign(split="train"))
    plan.add("data", f"{len(classes)} classes: {', '.join(classes)}")
    if len(first) < len(domains):
        return None, None
    plan.add("data", "folders read and first images checked; the run checks all")
    listed = pd.DataFrame([(name, f"{name}/{k}") for name, number in counts.items() for k in range(number)],
                          columns=["domain", "image_id"])
    return listed.assign(split="all", role="source"), pd.concat(first, ignore_index=True)


def _describe_folds(plan: RunPlan, params: LeaveOneOutParams, listed: pd.DataFrame, methods: list[str],
                    steps: int) -> int:
    """Return how many images a fold scores, on average."""
    scored = []
    for fold in folds(listed, params.train_share, params.seeds[0]):  # how many there are depends on no seed and no id
        parts = fold.source["split"].value_counts()
        plan.add("folds", f"without {fold.held_out}: {parts.get('train', 0):,} images of "
                          f"{', '.join(dict.fromkeys(fold.source['domain']))} train, {parts.get('val', 0):,} validate; "
                          f"{(fold.scored['role'] == 'target').sum():,} unseen ones are scored")
        scored.append(len(fold.scored))
    trainings = len(scored) * len(params.seeds) * len(methods)
    plan.add("folds", f"{len(scored)} folds x seeds {', '.join(map(str, params.seeds))} x {', '.join(methods)}: "
                      f"{trainings} trainings of {steps:,} steps; those that the workspace has are not repeated")
    return round(sum(scored) / len(scored))
