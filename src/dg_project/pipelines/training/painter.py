"""Open the diffusion model that generates pseudo images during training (the closed loop)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dg_project.config import Settings

if TYPE_CHECKING:
    from dg_project.experiments.closed_loop.loop import Painter


def open_painter(settings: Settings) -> Painter:
    """Open the diffusion model, with the CLIP filter if the gate has one."""
    from dg_project.core.device import resolve_device
    from dg_project.diffusion.generator import Generator
    from dg_project.experiments.closed_loop.loop import Painter
    from dg_project.vlm.clip import Recogniser

    device, clip = resolve_device(settings.training.device), settings.sampling.gate.clip
    recognise = Recogniser(clip, settings.data.classes, device) if clip else None
    return Painter(Generator.from_params(settings.ldm, device), recognise)
