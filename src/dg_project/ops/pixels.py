"""Pixel formats of images, and a hash of pixels."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def to_float(image: Tensor) -> Tensor:
    """Return a uint8 image as float32 in 0..1."""
    return image.to(torch.float32) / 255


def to_uint8(image: Tensor) -> Tensor:
    """Return a float image in 0..1 as uint8, rounded."""
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
