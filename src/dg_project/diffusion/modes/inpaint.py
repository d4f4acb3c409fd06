"""Inpainting around the labelled boxes, which keep their source pixels or change less than the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dg_project.config import denoising_steps
from dg_project.diffusion.latents import encode
from dg_project.diffusion.modes.base import Mode, ModeInputs, Sampling

PAINT, KEEP = 255, 0


class Inpaint(Mode):
    """Any Stable Diffusion or SDXL (latents are blended at every step), or a checkpoint trained to inpaint.

    diffusers keeps the protected region at the source in all steps. Here the mask is lifted for the last
    ``box_strength`` of the schedule, so that the objects take on some of the new light.
    """

    name = "inpaint"
    pipelines: ClassVar[dict[str, str]] = {
        "sd": "StableDiffusionInpaintPipeline",
        "sdxl": "StableDiffusionXLInpaintPipeline",
    }

    @classmethod
    def channels(cls, image_channels: int) -> set[int]:
        """Return the channels of latents only, and of latents, mask and masked source."""
        return {image_channels, 2 * image_channels + 1}

    def __call__(self, inputs: ModeInputs, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the inputs."""
        free = denoising_steps(sampling.steps, min(self.params.box_strength, sampling.strength))
        cell = self.pipeline.vae_scale_factor
        sizes = [image.size for image in inputs.images]
        boxes = inputs.boxes if free < sampling.run else [np.zeros((0, 4)) for _ in sizes]
        call: dict[str, Any] = {
            "image": list(inputs.images),
            "mask_image": [outside(*pair, cell) for pair in zip(boxes, sizes, strict=True)],
            "strength": sampling.share,
            "callback_on_step_end": self._lift(free),
            "callback_on_step_end_tensor_inputs": ["mask", "masked_image_latents"],
        }
        return self.pipeline(**call, **inputs.size, **self.text(inputs, sampling)).images

    def finish(self, source: Image.Image, made: Image.Image, boxes: np.ndarray) -> Image.Image:
        """Paste the source's pixels into the boxes if ``box_strength`` is 0.

        The latents inside the boxes are then those of the source, but decoding does not reproduce the exact pixels.
        """
        if self.params.box_strength:
            return made
        return Image.composite(made, source, outside(boxes, made.size))

    def _lift(self, free: int) -> Callable[..., dict[str, Tensor]]:
        """Return a callback that lifts the mask when ``free`` steps remain."""

        def callback(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            left = pipeline.num_timesteps - 1 - step
            if not left or left != free * pipeline.scheduler.order:
                return {}
            mask, hidden = torch.ones_like(tensors["mask"]), tensors["masked_image_latents"]
            height, width = (side * pipeline.vae_scale_factor for side in mask.shape[-2:])
            nothing = encode(pipeline, torch.zeros(1, 3, height, width))
            return {"mask": mask, "masked_image_latents": nothing.to(hidden).expand_as(hidden)}

        return callback


def outside(boxes: np.ndarray, size: tuple[int, int], cell: int = 1) -> Image.Image:
    """Return a mask of ``size`` (width, height): 255 outside the boxes ``(n, 4)``, 0 in every cell touched by a box.

    The mask is sampled once per latent cell of ``cell`` pixels; rounding boxes up to full cells keeps thin ones.
    """
    mask = np.full(size[::-1], PAINT, np.uint8)
    for x0, y0, x1, y1 in np.asarray(boxes, float).reshape(-1, 4):
        left, top = (max(0, math.floor(value / cell) * cell) for value in (x0, y0))
        mask[top : math.ceil(y1 / cell) * cell, left : math.ceil(x1 / cell) * cell] = KEEP
    return Image.fromarray(mask)
