"""ControlNet img2img: SDEdit whose every step also follows the source's edges or its semantic mask."""

from __future__ import annotations

from typing import Any, ClassVar

from PIL import Image

from dg_project.core.errors import DataError
from dg_project.diffusion.conditions import edge_image, segmentation_image
from dg_project.diffusion.modes.base import Batch, Mode, Sampling


class ControlNet(Mode):
    """Stable Diffusion or SDXL with a ControlNet, which holds the geometry at strengths that plain img2img loses it."""

    name = "controlnet"
    pipelines: ClassVar[dict[str, str]] = {
        "sd": "StableDiffusionControlNetImg2ImgPipeline",
        "sdxl": "StableDiffusionXLControlNetImg2ImgPipeline",
    }

    def __call__(self, batch: Batch, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the batch.

        Raises:
            DataError: the condition is the segmentation, and an image has none.
        """
        call: dict[str, Any] = {
            "image": list(batch.images),
            "control_image": [self._condition(*pair) for pair in zip(batch.images, batch.masks, strict=True)],
            "strength": sampling.share,
            "controlnet_conditioning_scale": self.params.scale,
            "control_guidance_end": self.params.end,
        }
        return self.pipeline(**call, **batch.size, **self.text(batch, sampling)).images

    def _condition(self, image: Image.Image, mask: Image.Image | None) -> Image.Image:
        if self.params.condition == "edges":
            return edge_image(image)
        if mask is None:
            raise DataError(
                "ldm.controlnet.condition is 'segmentation', but a source image has no semantic mask: set it to "
                "'edges', or ingest data with masks"
            )
        return segmentation_image(mask, self.params.palette)
