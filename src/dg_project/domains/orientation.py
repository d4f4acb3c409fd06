"""EXIF orientation: how a viewer turns a photo. Labels refer to stored pixels, so only images to predict are turned."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image

AS_STORED = 1
_UNREADABLE = (SyntaxError, ValueError, TypeError, LookupError, struct.error)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1, as it is stored, where there is none that can be read.

    Raises:
        OSError: the image is truncated.
    """
    image.load()  # the EXIF of a PNG may stand behind its pixels; a TIFF is turned by Pillow itself, and 1 from here on
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except _UNREADABLE:  # its pixels are good
        return AS_STORED
    return found if found in _TURNS else AS_STORED


def upright(image: Image.Image) -> Image.Image:
    """Return an image as a viewer shows it. Pillow's ``exif_transpose`` stumbles over EXIF that it cannot write again.

    Raises:
        OSError: the image is truncated.
    """
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)
