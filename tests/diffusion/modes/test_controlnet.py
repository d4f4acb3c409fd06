"""ControlNet: condition images and scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusion.modes.helpers import make, opened, same, scene

from dg_project.core.errors import DataError
from dg_project.diffusion.conditions import edge_image
from dg_project.diffusion.generator import Generator


def controlled(checkpoint: Path, beside: Path | None, **options: Any) -> Generator:
    return opened(checkpoint, mode="controlnet", controlnet={"checkpoint": beside and str(beside), **options})


def test_controlnet_scale_zero_equals_img2img(tiny_img2img: Path, tiny_controlnet: Path) -> None:
    plain = make(opened(tiny_img2img))
    assert same(make(controlled(tiny_img2img, tiny_controlnet, scale=0.0)), plain)
    assert not same(make(controlled(tiny_img2img, tiny_controlnet)), plain)


def test_controlnet_early_end_changes_less(tiny_img2img: Path, tiny_controlnet: Path) -> None:
    plain, early, late = (np.asarray(make(g, steps=8, strength=1.0), float) for g in (
        opened(tiny_img2img), controlled(tiny_img2img, tiny_controlnet, end=0.25),
        controlled(tiny_img2img, tiny_controlnet)))
    assert 0 < np.abs(early - plain).mean() < np.abs(late - plain).mean()


def test_controlnet_condition_images(tiny_img2img: Path, tiny_controlnet: Path) -> None:
    seen = {}
    for condition, palette in (("edges", "ade20k"), ("segmentation", "ade20k"), ("segmentation", "cityscapes")):
        generator = controlled(tiny_img2img, tiny_controlnet, condition=condition, palette=palette)
        net = generator.pipeline.controlnet
        net.register_forward_pre_hook(
            lambda module, args, given, key=(condition, palette): seen.update({key: given["controlnet_cond"]}),
            with_kwargs=True)
        make(generator)
    edges = np.asarray(edge_image(scene(0)), float) / 255
    np.testing.assert_allclose(seen["edges", "ade20k"][0].permute(1, 2, 0), edges, atol=1e-6)
    for palette, sky, car in (("ade20k", (6, 230, 230), (0, 102, 200)), ("cityscapes", (70, 130, 180), (0, 0, 142))):
        shown = (seen["segmentation", palette][0].permute(1, 2, 0) * 255).round()
        assert shown[0, 0].tolist() == list(sky)
        assert shown[10, 12].tolist() == list(car)


def test_controlnet_missing_mask_error(tiny_img2img: Path, tiny_controlnet: Path) -> None:
    generator = controlled(tiny_img2img, tiny_controlnet, condition="segmentation")
    with pytest.raises(DataError, match="semantic mask"):
        make(generator, masks=None)
