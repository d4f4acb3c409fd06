"""One interface to image-to-image diffusion for every checkpoint and mode: images in, images out.

``strength`` means the same in all modes: the share of the noise schedule that is run, starting from the source image
noised to that point. The modes differ in how much of the source remains.
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
from dg_project.diffusion.latents import equal_images_encoded_once
from dg_project.diffusion.modes import MODES, Mode, ModeInputs, Sampling
from dg_project.diffusion.opening import move_to_device, open_pipeline


class Generator:
    """A diffusers pipeline that maps images to images, one seed per image.

    Attributes:
        pipeline: diffusers pipeline in evaluation mode.
        fingerprint: hash of the weights, 16 hex digits.
        mode: how the pipeline is used.
        device: torch device.
        resolution: shorter side of the images during generation; None keeps their size.
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
        """Open a checkpoint in the mode it was made for; ``from_params`` has all options.

        Args:
            checkpoint: folder of a diffusers pipeline, or a hub name (downloaded once by diffusers).
            dtype: float32, float16 or bfloat16.
            device: torch device.
            scheduler: name of a diffusers scheduler class; None keeps the checkpoint's own.
        """
        options: dict[str, Any] = {"checkpoint": str(checkpoint), "dtype": dtype, "scheduler": scheduler}
        return cls.from_params(LDMParams(**options), device)

    @classmethod
    def from_params(cls, ldm: LDMParams, device: str | torch.device = "cpu") -> Generator:
        """Open the checkpoint, ControlNet and LoRAs given by the parameters.

        Raises:
            CheckpointError: a file is missing, cannot be opened or is for another architecture.
            ParameterError: parameters contradict each other, or diffusers does not know them.
        """
        where = torch.device(device)
        pipeline, mode, fingerprint = open_pipeline(ldm, where)
        own = mode(pipeline, getattr(ldm, mode.name, None))
        generator = cls(pipeline, fingerprint, own, where, ldm.resolution)
        move_to_device(pipeline, ldm.memory, where)
        return generator

    def resolved(self, ldm: LDMParams) -> LDMParams:
        """Return the parameters with ``auto`` replaced by this generator's mode and dtype."""
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

        A CPU denoises consecutive images of one source (the same object) together; other sources run apart. So an image
        depends on its source, prompt and seed, and in the last bits on how many images of its source run together. An
        accelerator runs images of one size together; kernels chosen by batch size may then differ in the last bits. A
        source is encoded once for all its consecutive images.

        Args:
            images: PIL images or uint8 tensors ``(3, H, W)``.
            prompts: one text per image.
            seeds: one seed per image.
            boxes: boxes of each image, ``(n, 4)`` xyxy in its pixels; the mode inpaint protects them.
            masks: train ids of each image as an image of the same size, or None; a ControlNet may use them.
            strength: share of the schedule to run, 0 to 1; 0 returns the source images.
            steps: length of the full schedule; ``int(steps * strength)`` steps are run.
            guidance_scale: classifier-free guidance; 1 turns it off (1/2 to 1/3 of the cost).
            image_guidance_scale: InstructPix2Pix only, at least 1: guidance towards the source image.
            negative_prompt: text to steer away from; needs guidance.

        Raises:
            ParameterError: the strength is too small to run a single step.
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
        for rows in self._chunks(images, sources):
            size = self._working_size(sources[rows[0]])
            scale = np.array(size * 2) / np.array(sources[rows[0]].size * 2)
            inputs = ModeInputs(
                images=[_pad(sources[i].resize(size, Image.Resampling.LANCZOS), self._multiple) for i in rows],
                prompts=[prompts[i] for i in rows],
                generators=[torch.Generator("cpu").manual_seed(int(seeds[i])) for i in rows],
                boxes=[kept[i] * scale for i in rows],
                masks=[self._scaled_mask(masks[i], size) if masks else None for i in rows],
            )
            results += self._run(inputs, sampling, size, [sources[i] for i in rows], [kept[i] for i in rows])
        return results

    def _run(self, inputs: ModeInputs, sampling: Sampling, size: tuple[int, int], sources: list[Image.Image],
             kept: list[np.ndarray]) -> list[Image.Image]:
        """Generate the images of one chunk; return them in the size of their sources."""
        with equal_images_encoded_once(self.pipeline.vae):
            generated = self.mode(inputs, sampling)
        made = (new.crop((0, 0, *size)).resize(source.size, Image.Resampling.LANCZOS)
                for new, source in zip(generated, sources, strict=True))
        return [self.mode.finish(*parts) for parts in zip(sources, made, kept, strict=True)]

    def _chunks(self, images: Sequence[Any], sources: list[Image.Image]) -> Iterator[list[int]]:
        """Yield indices of consecutive images to run through the networks together; see ``generate``."""
        chunk: list[int] = []
        for index, source in enumerate(sources):
            if self.device.type == "cpu":
                together = chunk and images[chunk[0]] is images[index]
            else:
                together = chunk and sources[chunk[0]].size == source.size
            if chunk and not together:
                yield chunk
                chunk = []
            chunk.append(index)
        if chunk:
            yield chunk

    def _working_size(self, source: Image.Image) -> tuple[int, int]:
        """Return the width and height of the generated image, before padding."""
        factor = self.resolution / min(source.size) if self.resolution else 1
        return max(1, round(source.width * factor)), max(1, round(source.height * factor))

    def _scaled_mask(self, mask: Image.Image | None, size: tuple[int, int]) -> Image.Image | None:
        return mask and _pad(mask.resize(size, Image.Resampling.NEAREST), self._multiple)


def _natural_mode(pipeline: Any) -> Mode:
    """Return the mode for a pipeline passed as an object: InstructPix2Pix or img2img."""
    instruct = pipeline.__class__.__name__ in MODES["instruct"].pipelines.values()
    return MODES["instruct" if instruct else "img2img"](pipeline)


def _to_pil(image: Image.Image | Tensor) -> Image.Image:
    """Convert a PIL image or a uint8 tensor ``(3, H, W)`` to an RGB PIL image."""
    if isinstance(image, Tensor):
        return Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    return image.convert("RGB")


def _pad(image: Image.Image, multiple: int) -> Image.Image:
    """Pad the image by mirroring at its right and lower edge to multiples of ``multiple`` pixels."""
    right, below = -image.width % multiple, -image.height % multiple
    if not right and not below:
        return image
    pixels = np.asarray(image)
    return Image.fromarray(np.pad(pixels, ((0, below), (0, right)) + ((0, 0),) * (pixels.ndim - 2), mode="symmetric"))
