"""Fixtures for every test: a generated data set, its manifests, and a genuine but random diffusion pipeline."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from clip_fixture import clip  # noqa: F401
from ldm_fixture import (  # noqa: F401
    tiny_controlnet,
    tiny_img2img,
    tiny_inpaint,
    tiny_ldm,
    tiny_sdxl,
    tiny_sdxl_controlnet,
    tiny_sdxl_instruct,
    tiny_v_prediction,
)
from streets_fixture import CLASSES, SOURCE, TARGETS, build_tiny_pseudo, build_tiny_streets


@pytest.fixture
def tiny_streets(tmp_path: Path) -> Path:
    """Root of a fresh five-domain VOC data set that the test may damage."""
    return build_tiny_streets(tmp_path / "streets")


@pytest.fixture
def tiny_classes() -> list[str]:
    """Class names of ``tiny_streets``; their order gives the labels 1..7."""
    return list(CLASSES)


@pytest.fixture
def tiny_manifest(tiny_streets: Path) -> pd.DataFrame:
    """Manifest of ``tiny_streets`` (its root): train, val and test of the source, test of the four targets."""
    from dg_project.data.readers import read_domain

    splits = {"train": "train", "val": "val", "test": "test"}
    parts = [read_domain("voc", tiny_streets, SOURCE, "source", splits, CLASSES)[0]]
    parts += [read_domain("voc", tiny_streets, name, "target", {"test": "test"}, CLASSES)[0] for name in TARGETS]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def tiny_adapt(tiny_streets: Path) -> pd.DataFrame:
    """Manifest of the unlabelled images of the four targets."""
    from dg_project.data.readers import read_domain

    return pd.concat([read_domain("voc", tiny_streets, name, "adapt", {"adapt": "adapt"}, CLASSES)[0]
                      for name in TARGETS], ignore_index=True)


@pytest.fixture
def tiny_pseudo(tmp_path: Path, tiny_streets: Path, tiny_manifest: pd.DataFrame) -> tuple[Path, pd.DataFrame]:
    """Root and sampled manifest of two pseudo domains, ``night`` and ``fog``, of the eight source training images."""
    source = tiny_manifest[tiny_manifest["split"] == "train"].to_dict("records")
    root = tmp_path / "pseudo"
    rows = build_tiny_pseudo(root, tiny_streets, source, {"night": "night_clear", "fog": "daytime_foggy"})
    return root, pd.DataFrame(rows)
