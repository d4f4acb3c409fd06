"""Inpainting: boxes keep their source pixels or change less than their surroundings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusion.modes.helpers import Decoded, make, opened, same, scene

from dg_project.diffusion.modes.inpaint import outside

INSIDE = (slice(None), slice(None), slice(1, 4), slice(2, 6))
"""The latent cells (a quarter of the pixels) that ``BOX`` touches."""


def test_box_strength_zero_keeps_source_pixels(tiny_img2img: Path) -> None:
    made = np.asarray(make(opened(tiny_img2img, mode="inpaint", inpaint={"box_strength": 0})))
    source = np.asarray(scene(0))
    changed = (made != source).any(-1)
    assert not changed[6:15, 9:21].any()
    changed[6:15, 9:21] = True
    assert changed.mean() > 0.9


def test_box_strength_zero_at_another_resolution(tiny_img2img: Path) -> None:
    generator = opened(tiny_img2img, mode="inpaint", inpaint={"box_strength": 0}, resolution=56)
    assert np.array_equal(np.asarray(make(generator))[6:15, 9:21], np.asarray(scene(0))[6:15, 9:21])


def test_box_strength_changes_boxes(tiny_img2img: Path) -> None:
    inside, everywhere = {}, {}
    for strength in (0.0, 0.25, 1.0):
        generator = opened(tiny_img2img, mode="inpaint", inpaint={"box_strength": strength})
        decoded, latents = Decoded(generator), []
        for prompt in ("night", "fog"):
            make(generator, prompt=prompt, steps=8, strength=1.0, guidance_scale=7.0)
            latents.append(decoded.latents)
        difference = (latents[0] - latents[1]).abs()
        inside[strength], everywhere[strength] = float(difference[INSIDE].mean()), float(difference.mean())
    assert inside[0.0] == 0
    assert 0 < inside[0.25] < 0.7 * inside[1.0]
    assert min(everywhere.values()) > 0


def test_box_strength_one_equals_no_boxes(tiny_img2img: Path) -> None:
    generator = opened(tiny_img2img, mode="inpaint", inpaint={"box_strength": 1.0})
    assert same(make(generator), make(generator, boxes=None))


def test_nine_channel_unet_gets_lifted_mask(tiny_inpaint: Path) -> None:
    generator = opened(tiny_inpaint, scheduler="DDIMScheduler", inpaint={"box_strength": 0.5})
    told: list[torch.Tensor] = []
    generator.pipeline.unet.register_forward_pre_hook(lambda module, args: told.append(args[0].clone()))
    make(generator, steps=6, strength=1.0)
    masks = [sample[:, 4:5] for sample in told]
    assert len(masks) == 6
    assert all(not mask[INSIDE].any() and mask.sum() == mask.numel() - 12 for mask in masks[:3])
    assert all(mask.all() for mask in masks[3:])
    assert not torch.equal(told[2][:, 5:], told[3][:, 5:]), "the source was still shown after the mask was lifted"


@pytest.mark.parametrize("box", [[10, 10, 11, 11], [11.5, 3, 12.5, 4]])
def test_box_below_one_cell_is_protected(box: list[float]) -> None:
    mask = np.asarray(outside(np.array([box]), (24, 16), cell=8))
    sampled = mask[::8, ::8]  # how diffusers brings a mask to the size of the latents
    assert (sampled == 0).sum() >= 1
    x, y = int(box[0]), int(box[1])
    assert mask[y, x] == 0
