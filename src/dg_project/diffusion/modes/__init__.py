"""Modes of image-to-image generation, selected by ``ldm.mode``."""

from dg_project.diffusion.modes.base import Img2Img, Mode, ModeInputs, Sampling
from dg_project.diffusion.modes.controlnet import ControlNet
from dg_project.diffusion.modes.inpaint import Inpaint
from dg_project.diffusion.modes.instruct import Instruct
from dg_project.diffusion.modes.inversion import Inversion

MODES: dict[str, type[Mode]] = {mode.name: mode for mode in (Img2Img, Instruct, ControlNet, Inpaint, Inversion)}

__all__ = ["MODES", "Mode", "ModeInputs", "Sampling"]
