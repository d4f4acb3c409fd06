"""The second kind of checkpoint, which only these tests need."""

from __future__ import annotations

from pathlib import Path

import pytest
from ldm_fixture import build_img2img


@pytest.fixture(scope="session")
def tiny_img2img(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random-weight Stable Diffusion img2img pipeline."""
    return build_img2img(tmp_path_factory.mktemp("tiny_img2img"))
