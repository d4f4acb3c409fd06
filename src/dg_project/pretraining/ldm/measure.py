"""Measure the figures of the model card on held-out groups."""

from __future__ import annotations

import time
from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor
from tqdm.auto import tqdm

from dg_project.diffusion.generator import Generator
from dg_project.pretraining.ldm.corpus import Group
from dg_project.pretraining.ldm.quality import FindObjects, WeatherClassifier, kept_box_recall
from dg_project.pretraining.ldm.vae_training import decode, encode, psnr

STEPS = (1, 2, 4)


def measure(
    pipeline: StableDiffusionInstructPix2PixPipeline,
    train: list[Group],
    held: list[Group],
    find_objects: FindObjects | None = None,
) -> dict[str, Any]:
    """Return the figures of the model card.

    For every held-out frame in other weather, the clear frame of the same scene is edited with the frame's caption.
    Generated and real images then have the same scenes and captions, and the real ones give the upper bound.

    Args:
        pipeline: trained pipeline.
        train: groups whose frames train the weather classifier.
        held: held-out groups.
        find_objects: oracle detector; None skips the recall of boxes.
    """
    generator = Generator(pipeline, "measured")
    captions = [caption for group in held for caption in group.captions[1:]]
    sources = [group.clear for group in held for _ in group.weathers]
    real = [frame for group in held for frame in group.weathers]
    boxes = [group.boxes for group in held for _ in group.weathers]
    labels = [group.labels for group in held for _ in group.weathers]
    classifier = WeatherClassifier(
        [frame for group in train for frame in group.frames], [caption for group in train for caption in group.captions]
    )
    latents = encode(pipeline.vae, torch.stack(real))
    figures: dict[str, Any] = {
        "held_out_frames": len(real),
        "parameters": _parameters(pipeline),
        "threads": torch.get_num_threads(),
        "device": str(pipeline.device),
        "image_size": tuple(real[0].shape[1:]),
        "vae_psnr": psnr(decode(pipeline.vae, latents), torch.stack(real)),
        "weather": {"real frames": classifier.accuracy(real, captions)},
        "recall": {},
        "seconds_per_image": {},
    }
    if find_objects is not None:
        figures["recall"]["clear sources"] = kept_box_recall(find_objects, sources, boxes, labels)
        figures["recall"]["real frames"] = kept_box_recall(find_objects, real, boxes, labels)
    for steps in STEPS:
        made, seconds = _generate(generator, sources, captions, steps)
        name = f"generated, {steps} steps"
        figures["weather"][name] = classifier.accuracy(made, captions)
        figures["seconds_per_image"][steps] = seconds
        if find_objects is not None:
            figures["recall"][name] = kept_box_recall(find_objects, made, boxes, labels)
    return figures


def _generate(
    generator: Generator, sources: list[Tensor], captions: list[str], steps: int
) -> tuple[list[Tensor], float]:
    """Return one generated image per source, and the seconds per image without the first, which warms up."""
    made, times = [], []
    for seed, (source, caption) in enumerate(
        zip(tqdm(sources, desc=f"measuring {steps} steps", unit="image"), captions, strict=True)
    ):
        started = time.perf_counter()
        made += generator.generate([source], [caption], [seed], steps=steps)
        times.append(time.perf_counter() - started)
    return [pil_to_tensor(image) for image in made], sum(times[1:]) / max(1, len(times) - 1)


def _parameters(pipeline: StableDiffusionInstructPix2PixPipeline) -> dict[str, int]:
    return {
        name: sum(p.numel() for p in getattr(pipeline, name).parameters()) for name in ("vae", "unet", "text_encoder")
    }
