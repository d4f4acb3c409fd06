"""Time a training step and a synthesis: a few steps of the real loop on the first images, which are discarded."""

from __future__ import annotations

import io
import math
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dg_project.config import LDMParams, Settings, TrainingParams, denoising_steps
from dg_project.core.device import resolve_device
from dg_project.core.files import inside
from dg_project.data.batches import BatchStream
from dg_project.data.dataset import ManifestDataset
from dg_project.data.images import open_rgb
from dg_project.data.manifest import ADAPT, NO_MASKS
from dg_project.data.masks import load_mask
from dg_project.data.objects import whole_images
from dg_project.data.unlabelled import UnlabelledStream
from dg_project.experiments.training_data import source_domains, task_rows
from dg_project.methods import Method, method_class
from dg_project.methods.model_folder import ModelSpec, build_method
from dg_project.pseudo.generators.opening import open_generator
from dg_project.pseudo.synthesis import synthesise
from dg_project.training.loop import train

STEPS = 3
"""Steps to time, the first of which warms up and does not count where there are more."""
PATIENCE = 60.0
"""Seconds of timing after which no further step starts."""


@dataclass(frozen=True)
class TrainingCost:
    """Measured cost of a training.

    Attributes:
        step: seconds per training step.
        steps: number of timed steps.
        predict: seconds per predicted image.
        weights: number of parameters.
        state: bytes of weights, gradients and optimiser state.
        activations: bytes that the backward pass keeps, or with ``measured`` the peak of the device without ``state``.
        measured: whether the device reports its peak.
        device: torch device.
    """

    step: float
    steps: int
    predict: float
    weights: int
    state: int
    activations: int
    measured: bool
    device: str

    @property
    def memory(self) -> int:
        """Peak bytes of a step, without the kernels' own workspace."""
        return self.state + self.activations


class _EnoughError(Exception):
    """Ends the real training loop before it writes anything."""


def time_training(name: str, settings: Settings, first: pd.DataFrame, root: Path) -> TrainingCost:
    """Time a few steps of a method on copies of the first source images.

    Pseudo images, which do not exist yet, and unlabelled target images are replaced by their source images.

    Args:
        name: method name.
        settings: all parameters, without weights that are not on this machine.
        first: manifest rows of some source training images.
        root: folder that their paths are relative to.
    """
    method, stream = _prepare(method_class(name), settings, first, root)
    device = resolve_device(settings.training.device)
    brief = settings.training.model_copy(update={
        "selection": "last", "max_steps": max(settings.training.max_steps, STEPS + 1),
        "checkpoint_every": settings.training.max_steps + STEPS + 1,
        "validate_every": settings.training.max_steps + STEPS + 1})
    kept = _Kept(method)
    seconds: list[float] = []

    def note(step: int, row: dict[str, float]) -> None:
        kept.counting = False
        seconds.append(row["seconds"])
        if len(seconds) == STEPS or sum(seconds) > PATIENCE:
            raise _EnoughError

    measured = device.type == "cuda"
    if measured:
        torch.cuda.reset_peak_memory_stats(device)
    with saved_tensors_hooks(kept, _same), tempfile.TemporaryDirectory() as folder, suppress(_EnoughError):
        train(method, stream, brief, Path(folder), seed=settings.seed, on_log=note)
    state = state_bytes(method, settings.training)
    return TrainingCost(
        step=median(seconds[1:] or seconds), steps=max(1, len(seconds) - 1), predict=_predict(method, stream, device),
        weights=sum(weight.numel() for weight in method.parameters()), state=state,
        activations=torch.cuda.max_memory_allocated(device) - state if measured else sum(kept.storages.values()),
        measured=measured, device=str(device))


def _prepare(kind: type[Method], settings: Settings, first: pd.DataFrame,
             root: Path) -> tuple[Method, BatchStream]:
    """Return an untrained method and batches of the first images as in a training."""
    needs = kind.needs.on(settings.training.batches)
    names = [] if needs.pseudo == "none" else list(settings.synthesis.domains)
    unlabelled = [ADAPT] if needs.unlabelled_targets else []
    spec = ModelSpec.of(kind, settings, [*source_domains(first), *names, *unlabelled])
    method = build_method(spec, settings.seed)
    method.adapt_to(unlabelled)
    rows = task_rows(first, settings.task, spec.head)
    stand_ins = pd.concat([rows.assign(domain=name, role="pseudo", source_image_id=rows["image_id"])
                           for name in names], ignore_index=True) if names else None
    parts = method.model.parts
    others = None if stand_ins is None else ManifestDataset(stand_ins, root, root, parts)
    adapt = _unlabelled(settings, first, root, len(spec.domains) - 1).batch if unlabelled else None
    stream = BatchStream.from_params(settings.training, settings.seed, ManifestDataset(rows, root, parts=parts), others,
                                     spec.domains, needs.batches, adapt)
    return method, stream


def _unlabelled(settings: Settings, first: pd.DataFrame, root: Path, domain_id: int) -> UnlabelledStream:
    nothing = {"boxes": [], "labels": [], "difficult": [], **NO_MASKS, "domain": ADAPT, "role": ADAPT}
    bare = pd.DataFrame([{**row, **nothing} for row in first.to_dict("records")])
    adapt = whole_images(bare, first) if settings.task == "classification" else bare
    return UnlabelledStream(ManifestDataset(adapt, root), domain_id, settings.training.adapt_per_step, settings.seed,
                            settings.training.flip)


def state_bytes(method: nn.Module, params: TrainingParams) -> int:
    """Return the bytes of weights and buffers, and of gradients, optimiser state and weight average."""
    whole = sum(value.nbytes for value in [*method.parameters(), *method.buffers()])
    trained = sum(weight.nbytes for weight in method.parameters() if weight.requires_grad)
    moments = {"sgd": 1, "adamw": 2}[params.optimizer]
    return whole + trained * (1 + moments) + (whole if params.ema is not None else 0)


@torch.inference_mode()
def _predict(method: Method, stream: BatchStream, device: torch.device) -> float:
    """Return the seconds of the second prediction of an image."""
    image = stream.source[0][0].to(device).float() / 255
    method.eval()
    for _ in range(2):
        started = time.perf_counter()
        method.predict([image])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _same(value: Tensor) -> Tensor:
    return value


class _Kept:
    """Counts the memory that autograd keeps for the backward pass: each storage once, without weights."""

    def __init__(self, method: nn.Module) -> None:
        self._own = {weight.untyped_storage().data_ptr() for weight in [*method.parameters(), *method.buffers()]}
        self.storages: dict[int, int] = {}
        self.counting = True

    def __call__(self, value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if self.counting and storage.data_ptr() not in self._own:
            self.storages[storage.data_ptr()] = storage.nbytes()
        return value


SYNTHESIS_PATIENCE = 30.0
"""A longer image is timed only if the shortest takes no more seconds than this."""
LONGER = 3
"""Denoising steps of the longer image."""


@dataclass(frozen=True)
class SynthesisCost:
    """Counted and measured cost of a synthesis.

    Attributes:
        images: upper bound; source images whose number of boxes is out of bounds make none.
        passes: U-Net passes of all images, guidance included; 0 without a diffusion model.
        seconds: time of all images one by one on this machine, or None if not timed.
        bound: whether ``seconds`` is an upper bound, from a single step.
        image_bytes: bytes of a stored image.
    """

    images: int
    passes: int
    seconds: float | None
    bound: bool
    image_bytes: int


def synthesis_cost(settings: Settings, ldm: LDMParams, sources: int, first: pd.DataFrame, root: Path,
                   device: torch.device | None) -> SynthesisCost:
    """Count the images of a synthesis, and time one if the checkpoint is on this machine.

    Args:
        settings: all parameters.
        ldm: parameters of the diffusion model, mode resolved and paths located.
        sources: number of listed source training images.
        first: manifest rows of some of them.
        root: folder that their paths are relative to.
        device: torch device for timing an image; None times nothing.
    """
    wanted = settings.synthesis
    each = min(sources, wanted.n_images or sources) * wanted.candidates
    runs = [denoising_steps(ldm.steps, domain.strength) for domain in wanted.domains.values()]
    source = open_rgb(inside(root, first.iloc[0]["image"]))
    stored = io.BytesIO()
    source.save(stored, "PNG", compress_level=4)
    seconds, bound = None, False
    if device is not None:
        fixed, step, bound = _time(ldm, source, first.iloc[0], root, device)
        seconds = each * sum(fixed + step * run for run in runs)
    return SynthesisCost(each * len(runs), each * sum(passes(ldm, run) for run in runs), seconds, bound,
                         len(stored.getvalue()))


def time_generator(settings: Settings, sources: int, first: pd.DataFrame, root: Path) -> SynthesisCost:
    """Make one image per pseudo domain with a generator other than the diffusion model, and count the others.

    Args:
        settings: all parameters, paths located.
        sources: number of listed source training images.
        first: manifest rows of some of them.
        root: folder that their paths are relative to.
    """
    wanted = settings.synthesis
    generator = open_generator(wanted, settings.ldm, settings.data, settings.training.device)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("warm", "timed"):  # the first image loads the libraries
            started = time.perf_counter()
            made = synthesise(first.head(1), root, wanted.domains, generator, 1, settings.seed, Path(folder) / name)
        seconds = time.perf_counter() - started
        stored = [(Path(folder) / name / image).stat().st_size for image in made["image"]]
    each = min(sources, wanted.n_images or sources) * wanted.candidates
    return SynthesisCost(each * len(made), 0, each * seconds, False, sum(stored) // len(stored))


def passes(ldm: LDMParams, run: int) -> int:
    """Return the U-Net passes of an image with ``run`` denoising steps."""
    guided = {"instruct": 3}.get(ldm.mode, 2) if ldm.guidance_scale > 1 else 1
    return run * guided + (run if ldm.mode == "inversion" else 0)


def _time(ldm: LDMParams, source: Image.Image, row: pd.Series, root: Path,
          device: torch.device) -> tuple[float, float, bool]:
    """Return the fixed seconds per image, those per denoising step, and whether the latter include the former."""
    from dg_project.diffusion.generator import Generator

    generator = Generator.from_params(ldm, device)
    mask = None
    if ldm.uses_masks:
        mask = Image.fromarray(load_mask(inside(root, row["mask"]), row["mask_ids"], source.size).numpy())

    def seconds(run: int) -> float:
        started = time.perf_counter()
        # A strength below 1: half of a schedule twice as long works with every scheduler.
        generator.generate([source], ["a street"], [0], boxes=[list(row["boxes"])], masks=[mask], strength=0.5,
                           steps=2 * run, guidance_scale=ldm.guidance_scale, negative_prompt=ldm.negative_prompt,
                           image_guidance_scale=ldm.image_guidance_scale)
        return time.perf_counter() - started

    seconds(1)  # the first call compiles and allocates
    short = seconds(1)
    if short > SYNTHESIS_PATIENCE:
        return 0.0, short, True
    step = max((seconds(LONGER) - short) / (LONGER - 1), 0.0)
    return max(short - step, 0.0), step, math.isclose(step, 0.0)
