"""Pseudo images that were made elsewhere: found by name, checked for shape, never those of a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dg_project.config import PseudoDomain
from dg_project.core.errors import DataError
from dg_project.data.manifest import select
from dg_project.pseudo.generators.folder import FolderGenerator
from dg_project.pseudo.synthesis import synthesise


@pytest.fixture
def source(tiny_manifest: pd.DataFrame, tiny_streets: Path) -> tuple[pd.DataFrame, Path]:
    return select(tiny_manifest, split="train", role="source").head(2), tiny_streets


@pytest.fixture
def made(source: tuple[pd.DataFrame, Path], tmp_path: Path) -> Path:
    """Inverted source images: one of the first image, two of the second."""
    folder = tmp_path / "made"
    folder.mkdir()
    for endings, name in zip((("",), ("--a", "--b")), source[0]["image"], strict=True):
        with Image.open(source[1] / name) as image:
            inverted = Image.fromarray(255 - np.array(image.convert("RGB")))
        for number, ending in enumerate(endings, 1):
            inverted.point(lambda value, n=number: value // n).save(folder / f"{Path(name).stem}{ending}.png")
    return folder


def night(folder: Path) -> dict[str, PseudoDomain]:
    return {"night": PseudoDomain(images=str(folder))}


def test_images_are_found_by_name(source, made: Path, tmp_path: Path) -> None:
    pseudo = synthesise(*source, night(made), FolderGenerator(night(made), []), 6, 0, tmp_path / "w")
    used = pseudo.groupby("source_image_id")["prompt"].unique().map(sorted).tolist()
    stems = [Path(name).stem for name in source[0]["image"]]
    assert used == [[f"{stems[0]}.png"], [f"{stems[1]}--a.png", f"{stems[1]}--b.png"]]
    for row in pseudo.itertuples():
        with Image.open(tmp_path / "w" / row.image) as copy, Image.open(made / row.prompt) as image:
            assert np.array_equal(np.array(copy), np.array(image))
    assert set(pseudo["model"]) == {"folder"}


def test_another_image_is_taken_again(source, made: Path, tmp_path: Path) -> None:
    one = synthesise(*source, night(made), FolderGenerator(night(made), []), 1, 0, tmp_path / "w")
    Image.new("RGB", Image.open(made / one.prompt[0]).size).save(made / one.prompt[0])
    other = synthesise(*source, night(made), FolderGenerator(night(made), []), 1, 0, tmp_path / "w")
    assert (one["sha256"] != other["sha256"]).tolist() == [True, False]


def test_what_does_not_fit_is_refused(source, made: Path, tmp_path: Path) -> None:
    first, second = sorted(made.iterdir())[:2]
    with Image.open(first) as image:
        image.crop((0, 0, image.width // 2, image.height)).save(first)
    with pytest.raises(DataError, match=r"its source image .*: labels need the same shape"):
        synthesise(*source, night(made), FolderGenerator(night(made), []), 1, 0, tmp_path / "w")
    first.unlink()
    with pytest.raises(DataError, match=rf"has no image of the source image '.*': name it '{first.stem}\.png'"):
        synthesise(*source, night(made), FolderGenerator(night(made), []), 1, 0, tmp_path / "w")
    with pytest.raises(DataError, match="shares images with"):
        FolderGenerator(night(made), [made])
    with pytest.raises(DataError, match=r"domains\.night\.images: the folder '.*missing' does not exist"):
        FolderGenerator(night(tmp_path / "missing"), [])
    assert second.exists()
