"""16 bits and transparency mean the same in ingestion, training, prediction and the served model."""

from __future__ import annotations

import io

import numpy as np
import pytest
from layouts import deep_png, image_folder
from PIL import Image
from reading import read

from dg_project.core.errors import DataError
from dg_project.data.images import load_image, open_rgb, read_image
from dg_project.data.readers import read_domain
from dg_project.export.served import _decoded
from dg_project.predict.inputs import open_source

RAMP = (np.arange(24 * 40, dtype=np.uint16).reshape(24, 40) * 68)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_is_scaled_everywhere(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(RAMP).save(path)
    expected = (RAMP >> 8).astype(np.uint8)
    ((_, frames),) = open_source(tmp_path).chunks(lambda key: False)
    for pixels in (load_image(path), next(iter(frames)).image, _decoded(path.read_bytes(), 0)):
        assert np.array_equal(pixels.numpy(), np.stack([expected] * 3))


def test_16_bit_rgb_is_scaled_the_same(tmp_path):
    path = deep_png(tmp_path / "x.png", np.stack([RAMP] * 3, -1))
    assert np.array_equal(load_image(path)[0].numpy(), (RAMP >> 8).astype(np.uint8))


@pytest.mark.parametrize("values", [RAMP.astype(np.int32), RAMP.astype(np.float32)], ids=["I", "F"])
def test_32_bits_are_refused_everywhere(tmp_path, values):
    root = image_folder(tmp_path, ("cat",), images=2)
    path = root / "photo" / "cat" / "numbers.tiff"
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=r"numbers\.tiff: it stores 32-bit (integers|floats), whose range is unknown"):
        read_domain("image_folder", root, "photo", "source", {"train": "all"}, ["cat"], other_classes="ignore")
    with pytest.raises(DataError, match="stores 32-bit"):
        load_image(path)
    with pytest.raises(DataError, match="stores 32-bit"):
        _decoded(path.read_bytes(), 0)


def test_odd_pixels_are_on_the_card(tmp_path):
    root = image_folder(tmp_path, ("cat",), images=2)
    Image.fromarray(RAMP).save(root / "photo" / "cat" / "deep.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(root / "photo" / "cat" / "clear.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 255)).save(root / "photo" / "cat" / "opaque.png")
    warnings = read("image_folder", root, "photo", "all", ["cat"]).attrs["warnings"]
    assert sorted(text.split("', ")[1] for text in warnings) == [
        "are partly transparent; they are laid over white",
        "store 16 bits per channel; they are scaled to 8 bits (the high byte)"]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_is_laid_over_white(mode):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 1))
    stream = io.BytesIO()
    if mode in ("P", "L"):
        grey = Image.new(mode, (4, 4), 7)
        grey.paste(0, (0, 0, 4, 1))
        if mode == "P":
            grey.putpalette([value for value in range(256) for _ in range(3)])
        grey.save(stream, "PNG", transparency=7)
    else:
        image.convert(mode).save(stream, "PNG")
    pixels = read_image(stream).numpy()
    assert (pixels[:, 1:] == 255).all()
    assert (pixels[:, 0] == 0).all()


def test_opaque_images_keep_their_bits():
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    values[..., 3] = 255
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    assert np.array_equal(np.asarray(open_rgb(stream)), values[..., :3])


def test_missing_image_is_not_called_broken(tmp_path):
    with pytest.raises(DataError, match=r"the image '.*gone\.png' is missing"):
        load_image(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="cannot read the image"):
        load_image(tmp_path / "text.png")
