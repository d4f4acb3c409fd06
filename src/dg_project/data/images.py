"""Image files: open them, rotate photos by their EXIF orientation, and convert between uint8 and float tensors."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from dg_project.core.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""Lower-case endings of image files."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""Formats of Pillow that are opened, whatever the ending of a file: others, such as EPS, start further programs."""

BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""Errors that Pillow raises for a missing, truncated, oversized or non-image file."""

DEEP = "store 16 bits per channel; they are scaled to 8 bits (the high byte)"
"""What reading changes about the pixels of such images."""

_CHANNELS = {"1": "grey, 1 bit", "L": "grey, 8 bit", "LA": "grey and alpha, 8 bit", "P": "palette, 8 bit"}

AS_STORED = 1
"""EXIF orientation of an image that viewers do not rotate."""

_UNREADABLE_EXIF = (SyntaxError, ValueError, TypeError, LookupError, struct.error)
_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PixelError(ValueError):
    """The pixels of an image have no known range."""


def broken(path: Path, error: BaseException) -> DataError:
    """Return the error that says why an image file cannot be used and how to fix it."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DataError(f"the image '{path}' is missing; restore it, or correct the path that names it")
    if isinstance(error, PixelError):
        return DataError(f"{path}: {error}")
    if isinstance(error, Image.DecompressionBombError):
        return DataError(f"{path}: it unpacks to more pixels than any data set has ({error}); replace the file, or "
                         "scale it down")
    return DataError(f"{path}: it is truncated or no image ({error}); restore the file")


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 (as stored) if there is none or it cannot be read.

    Raises:
        OSError: the image is truncated.
    """
    image.load()  # a PNG may store EXIF after its pixels; Pillow rotates a TIFF itself and then reports 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except _UNREADABLE_EXIF:  # the pixels are still good
        return AS_STORED
    return found if found in _ROTATIONS else AS_STORED


def upright(image: Image.Image) -> Image.Image:
    """Rotate an image by its EXIF orientation. Pillow's ``exif_transpose`` fails on EXIF that it cannot write back.

    Raises:
        OSError: the image is truncated.
    """
    rotation = _ROTATIONS.get(orientation(image))
    return image if rotation is None else image.transpose(rotation)


def open_rgb(file: Path | BinaryIO, rotate: bool = False) -> Image.Image:
    """Open and decode an image file as RGB.

    Args:
        file: path or stream.
        rotate: rotate by the EXIF orientation, as viewers do. Labelled images are read as stored.

    Raises:
        BROKEN: one of these errors, if the file is missing, truncated or not an image.
    """
    with Image.open(file, formats=FORMATS) as image:
        return as_rgb(upright(image) if rotate else image)


def open_image(path: Path) -> Image.Image:
    """Return the RGB image at ``path``, as stored.

    Raises:
        DataError: the file is missing, truncated or not an image.
    """
    try:
        return open_rgb(path)
    except BROKEN as error:
        raise broken(path, error) from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit RGB: 16 bits per pixel are scaled by their high byte, transparency is laid over white.

    Pillow alone would clip 16-bit grey to white and show the colour below transparent pixels.

    Raises:
        PixelError: the pixels are 32-bit numbers, which have no known range.
    """
    if stores_16_bits(image):
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(high).convert("RGB")
    if image.mode in ("I", "F"):
        raise PixelError(f"it stores 32-bit {'integers' if image.mode == 'I' else 'floats'}, whose range is unknown; "
                         "save it with 8 or 16 bits per pixel")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def stores_16_bits(image: Image.Image) -> bool:
    """Return whether an image has one channel of 16 bits; Pillow reads those of PGM files as 32 bits."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def pixel_format(mode: str, deep: bool) -> str:
    """Return channels and depth of an image in words.

    Args:
        mode: mode of Pillow.
        deep: whether the file stores 16 bits per channel.

    >>> pixel_format("RGB", deep=False)
    'RGB, 8 bit'
    """
    if deep:
        return f"{'grey' if mode.startswith('I') else mode}, 16 bit"
    return _CHANNELS.get(mode, f"{mode}, 8 bit")


def odd_pixels(image: Image.Image) -> str:
    """Return what reading changes about the pixels of a decoded image, or ''.

    Raises:
        PixelError: see ``as_rgb``.
    """
    if stores_16_bits(image):
        return DEEP
    if image.mode in ("I", "F"):
        as_rgb(image)
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").histogram()[255] < image.width * image.height:
        return "are partly transparent; they are laid over white"
    return ""


def read_image(file: Path | BinaryIO, rotate: bool = False) -> Tensor:
    """Return ``open_rgb``'s image as a uint8 tensor (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.array(open_rgb(file, rotate)), 2, 0)))


def load_image(path: Path) -> Tensor:
    """Return the RGB image at ``path``, as stored, as a uint8 tensor (3, H, W).

    Raises:
        DataError: the file is missing, truncated or not an image.
    """
    try:
        return read_image(path)
    except (FileNotFoundError, NotADirectoryError, PixelError) as error:
        raise broken(path, error) from error
    except BROKEN as error:
        raise DataError(f"cannot read the image '{path}' ({error}); restore the file or ingest again") from error


def save_image(image: Tensor, path: Path) -> None:
    """Write an image (3, H, W), float 0..1, as a PNG; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(to_uint8(image).permute(1, 2, 0).numpy())).save(path)


# A thread that loads images with torch's operators has OpenMP threads of its own, which slow those of the training by
# a fifth; NumPy's run in the thread itself.
def to_float(image: Tensor) -> Tensor:
    """Map uint8 pixels 0..255 to float32 0..1."""
    if image.device.type != "cpu":
        return image.to(torch.float32) / 255
    return torch.from_numpy(np.divide(image.numpy(), 255, dtype=np.float32, order="C"))


def mirrored(image: Tensor) -> Tensor:
    """Return an image or mask (..., H, W) on the CPU mirrored left to right."""
    return torch.from_numpy(np.ascontiguousarray(np.flip(image.numpy(), -1)))


def to_uint8(image: Tensor) -> Tensor:
    """Map float pixels 0..1 to uint8 0..255, rounded."""
    return (image * 255).round().to(torch.uint8)


def pixel_hash(image: Tensor, size: int = 16, with_shape: bool = True) -> bytes:
    """Return the BLAKE2b hash of an image's values, on any device and of any dtype.

    Args:
        image: any shape.
        size: length of the hash in bytes.
        with_shape: whether images with the same values but different shapes get different hashes.
    """
    pixels = image.cpu().contiguous().numpy()
    content = pixels.tobytes() + (str(pixels.shape).encode() if with_shape else b"")
    return hashlib.blake2b(content, digest_size=size).digest()
