"""The ways from a source image to a new one; ``ldm.mode`` chooses."""

from dg_project.diffusion.modes.base import Batch, Img2Img, Mode, Sampling
from dg_project.diffusion.modes.controlnet import ControlNet
from dg_project.diffusion.modes.inpaint import Inpaint
from dg_project.diffusion.modes.instruct import Instruct
from dg_project.diffusion.modes.inversion import Inversion

MODES: dict[str, type[Mode]] = {mode.name: mode for mode in (Img2Img, Instruct, ControlNet, Inpaint, Inversion)}

__all__ = ["MODES", "Batch", "Mode", "Sampling"]
