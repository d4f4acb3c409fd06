"""One interface to image-to-image diffusion: InstructPix2Pix pipelines (the tiny LDM) and every ``*Img2Img`` one.

What ``strength`` means is the same for both: the share of the noise schedule that is run, starting from the source
image noised to that point. An InstructPix2Pix U-Net also sees the clean source, so it keeps geometry even at 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline, StableDiffusionInstructPix2PixPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from torch import Tensor
from transformers.utils import logging as transformers_logging

from dg_project.errors import CheckpointError, ParameterError, nearest
from dg_project.files import folder_hash

REMEDY = (
    "'ldm.checkpoint' must be a folder written by diffusers' save_pretrained (it holds a model_index.json) or the "
    "name of one on the hub"
)


class Generator:
    """A diffusers pipeline that turns images into images, one seed per image.

    Attributes:
        pipeline: the genuine diffusers pipeline, in evaluation mode on ``device``.
        fingerprint: 16 hex digits of the checkpoint's files.
        instruct: True for InstructPix2Pix, False for img2img.
    """

    def __init__(self, pipeline: Any, fingerprint: str) -> None:
        pipeline.set_progress_bar_config(disable=True)
        for network in (pipeline.vae, pipeline.unet):
            network.to(memory_format=torch.channels_last)
        self.pipeline = pipeline
        self.fingerprint = fingerprint
        self.instruct = isinstance(pipeline, StableDiffusionInstructPix2PixPipeline)
        vae, unet = pipeline.vae.config, pipeline.unet.config
        self._vae_factor = 2 ** (len(vae.block_out_channels) - 1)
        self._multiple = self._vae_factor * 2 ** (len(unet.block_out_channels) - 1)

    @classmethod
    def open(
        cls,
        checkpoint: str | Path,
        dtype: str = "float32",
        device: str | torch.device = "cpu",
        scheduler: str | None = None,
    ) -> Generator:
        """Open a checkpoint.

        Args:
            checkpoint: folder of a diffusers pipeline, or a hub name (downloaded once by diffusers).
            dtype: float32, float16 or bfloat16.
            device: where it runs.
            scheduler: name of a diffusers scheduler class; None keeps the checkpoint's own.

        Raises:
            CheckpointError: nothing is there, or it is no image-to-image diffusers pipeline.
            ParameterError: diffusers has no such scheduler.
        """
        folder = _resolve(checkpoint)
        pipeline = _load(folder, getattr(torch, dtype))
        if scheduler is not None:
            pipeline.scheduler = _scheduler_class(scheduler).from_config(pipeline.scheduler.config)
        return cls(pipeline.to(device), folder_hash(folder))

    def generate(
        self,
        images: Sequence[Image.Image | Tensor],
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
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
            strength: share of the schedule to run, 0 to 1; 0 returns the sources.
            steps: length of the whole schedule; ``int(steps * strength)`` steps are run.
            guidance_scale: classifier-free guidance; 1 is off (and costs a half or a third).
            image_guidance_scale: InstructPix2Pix only, at least 1; how strongly the source pulls.
            negative_prompt: what to steer away from, used with guidance only.

        Raises:
            ParameterError: the strength is so small that no step would be run.
        """
        sources = [_to_pil(image) for image in images]
        if strength == 0 or not sources:
            return sources
        run = min(steps, int(steps * strength + 1e-6))
        if run < 1:
            raise ParameterError(
                f"strength {strength} with ldm.steps {steps} runs no denoising step: raise ldm.steps to "
                f"{int(np.ceil(1 / strength))} or more, or the strength"
            )
        guidance = {"guidance_scale": guidance_scale}
        if self.instruct:
            guidance["image_guidance_scale"] = image_guidance_scale
        results: list[Image.Image] = []
        for rows in self._chunks(sources):
            padded = [_pad(sources[i], self._multiple) for i in rows]
            generators = [torch.Generator("cpu").manual_seed(int(seeds[i])) for i in rows]
            call = {
                "prompt": [prompts[i] for i in rows],
                "image": padded,
                "num_inference_steps": steps,
                "negative_prompt": [negative_prompt] * len(rows),
                "generator": generators,
                **guidance,
            }
            made = self._instruct(call, run) if self.instruct else self.pipeline(strength=strength, **call).images
            results += [new.crop((0, 0, *sources[i].size)) for new, i in zip(made, rows, strict=True)]
        return results

    def _chunks(self, images: list[Image.Image]) -> Iterator[list[int]]:
        """Yield indices of neighbouring images that go through the network together."""
        chunk: list[int] = []
        for index, image in enumerate(images):
            together = self.pipeline.device.type != "cpu" and chunk and images[chunk[0]].size == image.size
            if chunk and not together:
                yield chunk
                chunk = []
            chunk.append(index)
        if chunk:
            yield chunk

    def _instruct(self, call: dict[str, Any], run: int) -> list[Image.Image]:
        """Run the last ``run`` steps of InstructPix2Pix, which by itself knows no strength."""
        pipeline, steps, whole = self.pipeline, call["num_inference_steps"], self.pipeline.scheduler
        if run == steps:
            return pipeline(**call).images
        pipeline.scheduler = LastSteps(whole, run)
        try:
            pipeline.scheduler.set_timesteps(steps, device=pipeline.device)
            call["latents"] = self._noised(call["image"], call["generator"])
            return pipeline(**call).images
        finally:
            pipeline.scheduler = whole

    @torch.no_grad()
    def _noised(self, images: list[Image.Image], generators: list[torch.Generator]) -> Tensor:
        """Return the source latents ``(N, C, h, w)`` noised to the scheduler's first timestep, one generator each."""
        pipeline, vae = self.pipeline, self.pipeline.vae
        pixels = pipeline.image_processor.preprocess(images).to(vae.device, vae.dtype)
        clean = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        noise = torch.cat([torch.randn(clean[:1].shape, generator=g) for g in generators]).to(clean)
        noised = pipeline.scheduler.add_noise(clean, noise, pipeline.scheduler.timesteps[:1].expand(len(images)))
        return noised / pipeline.scheduler.init_noise_sigma


class LastSteps:
    """A scheduler whose pipeline sees only the last ``run`` timesteps; the schedule itself stays whole.

    Multistep solvers look up their place in the whole schedule, so cutting ``timesteps`` itself would break them.
    """

    def __init__(self, scheduler: Any, run: int) -> None:
        self._scheduler = scheduler
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    @property
    def timesteps(self) -> Tensor:
        """The timesteps that are run, ``(run * order,)``."""
        return self._scheduler.timesteps[-self._run * self._scheduler.order :]

    def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
        """Make the whole schedule and begin at the first timestep that is run."""
        self._scheduler.set_timesteps(*args, **kwargs)
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(len(self._scheduler.timesteps) - len(self.timesteps))


def _resolve(checkpoint: str | Path) -> Path:
    """Return the local folder of a checkpoint, downloading a hub name."""
    folder = Path(checkpoint)
    if (folder / "model_index.json").is_file():
        return folder
    if folder.exists():
        inside = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) if folder.is_dir() else "one file"
        raise CheckpointError(
            f"'{checkpoint}' is no diffusers pipeline: model_index.json is missing (found: "
            f"{inside or 'nothing'}). {REMEDY}"
        )
    if str(checkpoint).count("/") != 1 or str(checkpoint).startswith((".", "/", "~", "data/")):
        raise CheckpointError(f"the diffusion checkpoint '{checkpoint}' does not exist. {REMEDY}")
    try:
        return Path(DiffusionPipeline.download(str(checkpoint)))
    except Exception as error:
        raise CheckpointError(
            f"the diffusion checkpoint '{checkpoint}' is neither a folder here nor could it be fetched "
            f"from the hub ({type(error).__name__}). {REMEDY}"
        ) from error


def _load(folder: Path, dtype: torch.dtype) -> Any:
    """Return the pipeline of a folder, InstructPix2Pix as such and anything else as image-to-image."""
    quiet()
    try:
        index = json.loads((folder / "model_index.json").read_text())
        kind = (
            StableDiffusionInstructPix2PixPipeline
            if index["_class_name"] == "StableDiffusionInstructPix2PixPipeline"
            else AutoPipelineForImage2Image
        )
        options: dict[str, Any] = {"safety_checker": None} if "safety_checker" in index else {}
        return kind.from_pretrained(folder, torch_dtype=dtype, local_files_only=True, **options)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"'{folder}' cannot be opened as an image-to-image diffusers pipeline: {reason}. {REMEDY}"
        ) from error


def quiet() -> None:
    """Switch off the bars that diffusers and transformers draw for every file they read or write."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def _scheduler_class(name: str) -> Any:
    known = [n for n in dir(diffusers) if n.endswith("Scheduler")]
    if name not in known:
        raise ParameterError(f"ldm.scheduler: diffusers has no scheduler '{name}'.{nearest(name, known)}")
    return getattr(diffusers, name)


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
    return Image.fromarray(np.pad(np.asarray(image), ((0, below), (0, right), (0, 0)), mode="symmetric"))
