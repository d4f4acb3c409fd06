"""DSI: only unsure images are projected, and their predictions mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusion.modes.helpers import sdedit
from pydantic import ValidationError
from torchvision.transforms.functional import to_pil_image

from dg_project.config import TASK_PARAMS, BackboneParams, Task
from dg_project.core.errors import ParameterError
from dg_project.diffusion.generator import Generator
from dg_project.methods.dsi import DSI, _seed, mix_predictions
from dg_project.methods.model_folder import ModelSpec, build_method


def build(task: Task = "classification", **options: float) -> DSI:
    head = TASK_PARAMS[task](image_size=(32, 32)).model_dump(mode="json")
    method = build_method(ModelSpec(method="dsi", method_params={"start": 0.5, "steps": 2, **options}, task=task,
                                    head=head, classes=["car", "bus"], domains=["day"],
                                    backbone=BackboneParams(name="test_resnet", weights=None, frozen_stages=0)))
    assert isinstance(method, DSI)
    return method.eval()


def test_mix_predictions() -> None:
    one, two = torch.tensor([0.6, 0.4]), torch.tensor([0.1, 0.9])
    torch.testing.assert_close(mix_predictions(one, two, 0.25), torch.tensor([0.475, 0.525]), atol=1e-5, rtol=0)


def test_dsi_projects_only_unsure_images(tiny_ldm: Path) -> None:
    method, images = build(threshold=0.0), [torch.rand(3, 20, 30), torch.rand(3, 16, 16)]
    plain = [one["probabilities"] for one in method.predict(images)]
    method.use_ldm(Generator.open(tiny_ldm))
    assert all(torch.equal(one["probabilities"], p) for one, p in zip(method.predict(images), plain, strict=True))
    unsure = build(threshold=1.0, alpha=0.5)
    unsure.use_ldm(Generator.open(tiny_ldm))
    back = unsure.bring_back(unsure.ldm, images)
    assert [image.shape for image in back] == [image.shape for image in images]
    other = [one["probabilities"] for one in method.predict(back)]
    for found, p, q in zip(unsure.predict(images), plain, other, strict=True):
        torch.testing.assert_close(found["probabilities"], (p + q) / 2, atol=1e-5, rtol=0)
    assert torch.equal(unsure.bring_back(unsure.ldm, images[1:])[0], back[1])  # at any position in a batch


def test_dsi_v_prediction(tiny_v_prediction: Path) -> None:
    ldm, method = Generator.open(tiny_v_prediction), build(start=0.75, steps=4)
    pixels = torch.randint(0, 256, (3, 24, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    latents = sdedit(ldm, to_pil_image(pixels), method.params.prompt, _seed(pixels), velocity=True, steps=4, run=3)
    vae = ldm.pipeline.vae
    with torch.no_grad():
        expected = (vae.decode(latents / vae.config.scaling_factor).sample[0] / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(method.bring_back(ldm, [pixels.float() / 255])[0], expected, atol=1 / 255, rtol=0)


def test_dsi_refuses_empty_schedule() -> None:
    with pytest.raises(ValidationError, match=r"start 0\.2 with steps 4 runs no denoising step: raise steps to 5"):
        DSI.Params(start=0.2, steps=4)


def test_dsi_needs_classification() -> None:
    with pytest.raises(ParameterError, match="made for classification, not for segmentation"):
        build("segmentation")
