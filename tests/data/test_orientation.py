"""EXIF orientation, compared with Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from dg_project.data.images import orientation, upright

PIXELS = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
ORIENTATION = 0x0112


def photo(path: Path, value: int) -> Path:
    """Write the image with an EXIF orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = value
    Image.fromarray(PIXELS).save(path, exif=exif, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("value", range(1, 9))
def test_upright_equals_exif_transpose(tmp_path: Path, suffix: str, value: int) -> None:
    path = photo(tmp_path / f"a{suffix}", value)
    with Image.open(path) as image, Image.open(path) as again:
        wanted = ImageOps.exif_transpose(again)
        assert wanted.size == ((4, 6) if value > 4 else (6, 4))
        np.testing.assert_array_equal(np.asarray(upright(image)), np.asarray(wanted))
    with Image.open(path) as image:
        assert orientation(image) == (1 if suffix == ".tif" else value)


@pytest.mark.parametrize("value", [0, 9, 60000])
def test_upright_invalid_orientation(tmp_path: Path, value: int) -> None:
    with Image.open(photo(tmp_path / "a.png", value)) as image:
        np.testing.assert_array_equal(np.asarray(upright(image)), PIXELS)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0"])
def test_upright_unreadable_exif(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        with pytest.raises(Exception, match=r"not a TIFF file|unpack requires"):
            image.getexif()
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(upright(image)), PIXELS)
