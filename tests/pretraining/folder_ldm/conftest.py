"""Image folders of three domains and two classes, and sizes that train in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders_fixture import build_folders

from dg_project.config import DataParams, PretrainFolderLDMParams
from dg_project.pretraining.folder_ldm.pictures import list_images, planned
from dg_project.pretraining.folder_ldm.recipe import Sources


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder with the domains art, photo and sketch and the classes cat and dog, 24 x 20 pixels."""
    return build_folders(tmp_path / "animals", 5)


@pytest.fixture
def data(root: Path) -> DataParams:
    """Parameters that a reader of these folders takes."""
    return DataParams(root=str(root), source="x", targets=["y"], classes=["z"])


@pytest.fixture
def small() -> PretrainFolderLDMParams:
    """Seconds-long sizes, from scratch."""
    return PretrainFolderLDMParams(
        held_out=["sketch"], size=16, vae_start=None, vae_channels=(12, 48, 16), latent_channels=4, linear_steps=4,
        vae_steps=4, vae_crop=16, vae_batch_size=2, unet_channels=[8, 16], text_dim=16, unet_steps=4, batch_size=2,
        checkpoint_every=2, images_per_domain=6)


@pytest.fixture
def sources(root: Path, data: DataParams, small: PretrainFolderLDMParams) -> Sources:
    """The images of all domains but sketch."""
    return Sources(list_images(root, planned(root, small)["sketch"], None, data, small.size), root, "sketch")
