"""One interface to image-to-image diffusion, whatever the checkpoint and the mode: images in, images out.

What ``strength`` means is the same for all modes: the share of the noise schedule that is run, starting from the source
image noised to that point. How much of the source is left then is what the modes differ in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dg_project.config import LDMParams
from dg_project.core.errors import ParameterError
from dg_project.diffusion.checkpoint import quiet
from dg_project.diffusion.modes import MODES, Batch, Mode, Sampling
from dg_project.diffusion.opening import open_pipeline, place

__all__ = ["Generator", "quiet"]


class Generator:
    """A diffusers pipeline that turns images into images, one seed per image.

    Attributes:
        pipeline: the genuine diffusers pipeline, in evaluation mode.
        fingerprint: 16 hex digits of the weights.
        mode: how the pipeline is used.
        device: where it runs.
        resolution: shorter side of the images while they are generated; None is their own.
    """

    def __init__(
        self,
        pipeline: Any,
        fingerprint: str,
        mode: Mode | None = None,
        device: torch.device | None = None,
        resolution: int | None = None,
    ) -> None:
        pipeline.set_progress_bar_config(disable=True)
        for network in (pipeline.vae, pipeline.unet):
            network.to(memory_format=torch.channels_last)
        self.pipeline = pipeline
        self.fingerprint = fingerprint
        self.mode = mode or _natural_mode(pipeline)
        self.device = device or pipeline.device
        self.resolution = resolution
        vae, unet = pipeline.vae.config, pipeline.unet.config
        self._multiple = 2 ** (len(vae.block_out_channels) + len(unet.block_out_channels) - 2)

    @classmethod
    def open(
        cls,
        checkpoint: str | Path,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        scheduler: str | None = None,
    ) -> Generator:
        """Open a checkpoint in the mode that it was made for; see ``from_params`` for everything else.

        Args:
            checkpoint: folder of a diffusers pipeline, or a hub name (downloaded once by diffusers).
            dtype: float32, float16 or bfloat16.
            device: where it runs.
            scheduler: name of a diffusers scheduler class; None keeps the checkpoint's own.
        """
        options: dict[str, Any] = {"checkpoint": str(checkpoint), "dtype": dtype, "scheduler": scheduler}
        return cls.from_params(LDMParams(**options), device)

    @classmethod
    def from_params(cls, ldm: LDMParams, device: str | torch.device = "cpu") -> Generator:
        """Open the checkpoint, ControlNet and LoRAs that the parameters name.

        Raises:
            CheckpointError: something is missing, cannot be opened, or is for another architecture.
            ParameterError: parameters that exclude one another, or that diffusers does not know.
        """
        where = torch.device(device)
        pipeline, mode, fingerprint = open_pipeline(ldm, where)
        own = mode(pipeline, getattr(ldm, mode.name, None))
        generator = cls(pipeline, fingerprint, own, where, ldm.resolution)
        place(pipeline, ldm.memory, where)
        return generator

    def settled(self, ldm: LDMParams) -> LDMParams:
        """Return the parameters with what ``auto`` has come to here: the mode and the format of the numbers."""
        dtype = str(self.pipeline.unet.dtype).removeprefix("torch.")
        return ldm.model_copy(update={"mode": self.mode.name, "dtype": dtype})

    def generate(
        self,
        images: Sequence[Image.Image | Tensor],
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        boxes: Sequence[Any] | None = None,
        masks: Sequence[Image.Image | None] | None = None,
        strength: float = 1.0,
        steps: int = 6,
        guidance_scale: float = 1.0,
        image_guidance_scale: float = 1.0,
        negative_prompt: str = "",
    ) -> list[Image.Image]:
        """Return one RGB image per source image, of the same size.

        An image depends on its own source, prompt and seed, never on its neighbours: on a CPU the call runs image by
        image (bit-equal for every batch size, and no slower there). On an accelerator images of one size run together;
        kernels chosen by batch size may then differ in the last bits.

        Args:
            images: PIL images or uint8 tensors ``(3, H, W)``.
            prompts: one text per image.
            seeds: one seed per image.
            boxes: per image ``(n, 4)`` xyxy in its pixels; the mode inpaint protects them.
            masks: per image its train ids as an image of the same size; a ControlNet may follow them.
            strength: share of the schedule to run, 0 to 1; 0 returns the sources.
            steps: length of the whole schedule; ``int(steps * strength)`` steps are run.
            guidance_scale: classifier-free guidance; 1 is off (and costs a half or a third).
            image_guidance_scale: InstructPix2Pix only, at least 1; how strongly the source pulls.
            negative_prompt: what to steer away from, used with guidance only.

        Raises:
            ParameterError: the strength is so small that no step would be run.
        """
        sampling = Sampling(strength, steps, guidance_scale, image_guidance_scale, negative_prompt)
        sources = [_to_pil(image) for image in images]
        if strength == 0 or not sources:
            return sources
        if sampling.run < 1:
            raise ParameterError(
                f"strength {strength} with ldm.steps {steps} runs no denoising step: raise ldm.steps to "
                f"{math.ceil(1 / strength)} or more, or the strength"
            )
        kept = [np.asarray(b, float).reshape(-1, 4) for b in boxes or [()] * len(sources)]
        results: list[Image.Image] = []
        for rows in self._chunks(sources):
            size = self._working_size(sources[rows[0]])
            scale = np.array(size * 2) / np.array(sources[rows[0]].size * 2)
            batch = Batch(
                images=[_pad(sources[i].resize(size, Image.Resampling.LANCZOS), self._multiple) for i in rows],
                prompts=[prompts[i] for i in rows],
                generators=[torch.Generator("cpu").manual_seed(int(seeds[i])) for i in rows],
                boxes=[kept[i] * scale for i in rows],
                masks=[self._scaled_mask(masks[i], size) if masks else None for i in rows],
            )
            for new, i in zip(self.mode(batch, sampling), rows, strict=True):
                made = new.crop((0, 0, *size)).resize(sources[i].size, Image.Resampling.LANCZOS)
                results.append(self.mode.finish(sources[i], made, kept[i]))
        return results

    def _chunks(self, images: list[Image.Image]) -> Iterator[list[int]]:
        """Yield indices of neighbouring images that go through the network together."""
        chunk: list[int] = []
        for index, image in enumerate(images):
            together = self.device.type != "cpu" and chunk and images[chunk[0]].size == image.size
            if chunk and not together:
                yield chunk
                chunk = []
            chunk.append(index)
        if chunk:
            yield chunk

    def _working_size(self, source: Image.Image) -> tuple[int, int]:
        """Return the width and height that an image is generated at, before it is padded."""
        factor = self.resolution / min(source.size) if self.resolution else 1
        return max(1, round(source.width * factor)), max(1, round(source.height * factor))

    def _scaled_mask(self, mask: Image.Image | None, size: tuple[int, int]) -> Image.Image | None:
        return mask and _pad(mask.resize(size, Image.Resampling.NEAREST), self._multiple)


def _natural_mode(pipeline: Any) -> Mode:
    """Return the mode of a pipeline that was built, not opened: InstructPix2Pix or img2img."""
    instruct = pipeline.__class__.__name__ in MODES["instruct"].pipelines.values()
    return MODES["instruct" if instruct else "img2img"](pipeline)


def _to_pil(image: Image.Image | Tensor) -> Image.Image:
    """Return an RGB PIL image of a PIL image or a uint8 tensor ``(3, H, W)``."""
    if isinstance(image, Tensor):
        return Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    return image.convert("RGB")


def _pad(image: Image.Image, multiple: int) -> Image.Image:
    """Return the image mirrored at its right and lower edge up to sizes that the networks can halve."""
    right, below = -image.width % multiple, -image.height % multiple
    if not right and not below:
        return image
    pixels = np.asarray(image)
    return Image.fromarray(np.pad(pixels, ((0, below), (0, right)) + ((0, 0),) * (pixels.ndim - 2), mode="symmetric"))
