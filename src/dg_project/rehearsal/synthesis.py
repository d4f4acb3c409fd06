"""What a synthesis costs: how many images, how many passes through the U-Net, and how long one image takes."""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from dg_project.domains.masks import load_mask
from dg_project.files import inside
from dg_project.parameters import LDMParams, Parameters, denoising_steps

PATIENCE = 30.0
"""Seconds that the shortest image may take for a longer one to be timed as well."""
LONGER = 3
"""Denoising steps of that longer one."""


@dataclass(frozen=True)
class SynthesisCost:
    """What was found.

    Attributes:
        images: at most; source images whose number of boxes is out of bounds make none.
        passes: of the U-Net, all images together, guidance counted.
        seconds: of all images one by one on this machine, or None where nothing could be timed.
        bound: whether ``seconds`` is an upper bound, taken from one step alone.
        image_bytes: of one stored image.
    """

    images: int
    passes: int
    seconds: float | None
    bound: bool
    image_bytes: int


def synthesis_cost(settings: Parameters, ldm: LDMParams, sources: int, first: pd.DataFrame, root: Path,
                   device: torch.device | None) -> SynthesisCost:
    """Count the images of a synthesis, and time one where the checkpoint is on this machine.

    Args:
        settings: all parameters.
        ldm: those of the diffusion model, its mode resolved and its paths located.
        sources: listed source training images.
        first: manifest rows of some of them.
        root: folder that their paths are relative to.
        device: where to time an image; None does not.
    """
    wanted = settings.synthesis
    each = min(sources, wanted.n_images or sources) * wanted.candidates
    runs = [denoising_steps(ldm.steps, domain.strength) for domain in wanted.domains.values()]
    with Image.open(inside(root, first.iloc[0]["image"])) as opened:
        source = opened.convert("RGB")
    stored = io.BytesIO()
    source.save(stored, "PNG", compress_level=4)
    seconds, bound = None, False
    if device is not None:
        fixed, step, bound = _time(ldm, source, first.iloc[0], root, device)
        seconds = each * sum(fixed + step * run for run in runs)
    return SynthesisCost(each * len(runs), each * sum(passes(ldm, run) for run in runs), seconds, bound,
                         len(stored.getvalue()))


def passes(ldm: LDMParams, run: int) -> int:
    """Return how often the U-Net sees one image that ``run`` denoising steps are run for."""
    guided = {"instruct": 3}.get(ldm.mode, 2) if ldm.guidance_scale > 1 else 1
    return run * guided + (run if ldm.mode == "inversion" else 0)


def _time(ldm: LDMParams, source: Image.Image, row: pd.Series, root: Path,
          device: torch.device) -> tuple[float, float, bool]:
    """Return seconds per image and per denoising step of it, and whether the first are taken as part of the latter."""
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
    if short > PATIENCE:
        return 0.0, short, True
    step = max((seconds(LONGER) - short) / (LONGER - 1), 0.0)
    return max(short - step, 0.0), step, math.isclose(step, 0.0)
