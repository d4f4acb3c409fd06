"""Conversions between uint8 and float images, and saving them."""

from __future__ import annotations

from pathlib import Path

import torch

from dg_project.data.images import load_image, save_image, to_float, to_uint8

PIXELS = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(3, 16, 16)


def test_to_uint8_inverts_to_float() -> None:
    assert to_float(PIXELS).dtype == torch.float32
    assert to_float(PIXELS).max() == 1
    assert torch.equal(to_uint8(to_float(PIXELS)), PIXELS)


def test_save_image_roundtrip(tmp_path: Path) -> None:
    save_image(to_float(PIXELS), tmp_path / "new" / "a.png")
    assert torch.equal(load_image(tmp_path / "new" / "a.png"), PIXELS)
