"""The checkpoints that only these tests need: every architecture once, with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from ldm_fixture import build_controlnet, build_img2img, build_sd, build_sdxl


@pytest.fixture(scope="session")
def tiny_img2img(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random-weight Stable Diffusion img2img pipeline."""
    return build_img2img(tmp_path_factory.mktemp("tiny_img2img"))


@pytest.fixture(scope="session")
def tiny_inpaint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Stable Diffusion that was made to inpaint: nine channels."""
    return build_sd(tmp_path_factory.mktemp("tiny_inpaint"), "StableDiffusionInpaintPipeline", 9)


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an SDXL img2img pipeline, two text encoders."""
    return build_sdxl(tmp_path_factory.mktemp("tiny_sdxl"))


@pytest.fixture(scope="session")
def tiny_sdxl_instruct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an SDXL InstructPix2Pix pipeline."""
    return build_sdxl(tmp_path_factory.mktemp("tiny_sdxl_instruct"), "StableDiffusionXLInstructPix2PixPipeline", 8)


@pytest.fixture(scope="session")
def tiny_controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ControlNet for ``tiny_img2img``."""
    return build_controlnet(tmp_path_factory.mktemp("tiny_controlnet"))


@pytest.fixture(scope="session")
def tiny_sdxl_controlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ControlNet for ``tiny_sdxl``."""
    return build_controlnet(tmp_path_factory.mktemp("tiny_sdxl_controlnet"), xl=True)
