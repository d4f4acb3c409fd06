"""Inpainting around the labelled boxes: they stay source pixels, or change less than everything else."""

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
from dg_project.diffusion.modes.base import Batch, Mode, Sampling

PAINT, KEEP = 255, 0


class Inpaint(Mode):
    """Any Stable Diffusion or SDXL (their latents are blended step by step), or one trained to inpaint.

    diffusers holds what the mask protects at the source through all steps. Here the mask is lifted before the last
    ``box_strength`` of the schedule, so that the objects take on some of the new light too.
    """

    name = "inpaint"
    pipelines: ClassVar[dict[str, str]] = {
        "sd": "StableDiffusionInpaintPipeline",
        "sdxl": "StableDiffusionXLInpaintPipeline",
    }

    @classmethod
    def channels(cls, image_channels: int) -> set[int]:
        """Latents alone, or latents, mask and masked source."""
        return {image_channels, 2 * image_channels + 1}

    def __call__(self, batch: Batch, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the batch."""
        free = denoising_steps(sampling.steps, min(self.params.box_strength, sampling.strength))
        cell = self.pipeline.vae_scale_factor
        sizes = [image.size for image in batch.images]
        boxes = batch.boxes if free < sampling.run else [np.zeros((0, 4)) for _ in sizes]
        call: dict[str, Any] = {
            "image": list(batch.images),
            "mask_image": [outside(*pair, cell) for pair in zip(boxes, sizes, strict=True)],
            "strength": sampling.share,
            "callback_on_step_end": self._lift(free),
            "callback_on_step_end_tensor_inputs": ["mask", "masked_image_latents"],
        }
        return self.pipeline(**call, **batch.size, **self.text(batch, sampling)).images

    def finish(self, source: Image.Image, made: Image.Image, boxes: np.ndarray) -> Image.Image:
        """Return ``made`` with the source's own pixels inside the boxes where ``box_strength`` is 0.

        The latents inside are the source's then, but a decoder never gives the very same pixels back.
        """
        if self.params.box_strength:
            return made
        return Image.composite(made, source, outside(boxes, made.size))

    def _lift(self, free: int) -> Callable[..., dict[str, Tensor]]:
        """Return a callback that lifts the mask when ``free`` steps are left."""

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
    """Return a mask of ``size`` (width, height): 255 outside the boxes ``(n, 4)``, 0 in every cell that one touches.

    A mask is sampled once per latent cell of ``cell`` pixels; grown to whole cells, no thin box slips through.
    """
    mask = np.full(size[::-1], PAINT, np.uint8)
    for x0, y0, x1, y1 in np.asarray(boxes, float).reshape(-1, 4):
        left, top = (max(0, math.floor(value / cell) * cell) for value in (x0, y0))
        mask[top : math.ceil(y1 / cell) * cell, left : math.ceil(x1 / cell) * cell] = KEEP
    return Image.fromarray(mask)
