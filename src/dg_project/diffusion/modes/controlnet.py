"""ControlNet img2img: SDEdit in which every step also follows the source's edges or semantic mask."""

from __future__ import annotations

from typing import Any, ClassVar

from PIL import Image

from dg_project.core.errors import DataError
from dg_project.diffusion.conditions import edge_image, segmentation_image
from dg_project.diffusion.modes.base import Mode, ModeInputs, Sampling


class ControlNet(Mode):
    """Stable Diffusion or SDXL with a ControlNet, which keeps the geometry at higher strengths than plain img2img."""

    name = "controlnet"
    pipelines: ClassVar[dict[str, str]] = {
        "sd": "StableDiffusionControlNetImg2ImgPipeline",
        "sdxl": "StableDiffusionXLControlNetImg2ImgPipeline",
    }

    def __call__(self, inputs: ModeInputs, sampling: Sampling) -> list[Image.Image]:
        """Return one image per image of the inputs.

        Raises:
            DataError: the condition is 'segmentation' and an image has no mask.
        """
        call: dict[str, Any] = {
            "image": list(inputs.images),
            "control_image": [self._condition(*pair) for pair in zip(inputs.images, inputs.masks, strict=True)],
            "strength": sampling.share,
            "controlnet_conditioning_scale": self.params.scale,
            "control_guidance_end": self.params.end,
        }
        return self.pipeline(**call, **inputs.size, **self.text(inputs, sampling)).images

    def _condition(self, image: Image.Image, mask: Image.Image | None) -> Image.Image:
        if self.params.condition == "edges":
            return edge_image(image)
        if mask is None:
            raise DataError(
                "ldm.controlnet.condition is 'segmentation', but a source image has no semantic mask: set it to "
                "'edges', or ingest data with masks"
            )
        return segmentation_image(mask, self.params.palette)
