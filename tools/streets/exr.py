"""Reads an uncompressed scanline multilayer OpenEXR file (what Blender writes with codec NONE) with numpy alone."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}


def _text(data: bytes, pos: int) -> tuple[str, int]:
    end = data.index(b"\0", pos)
    return data[pos:end].decode(), end + 1


def _header(data: bytes) -> tuple[dict[str, bytes], int]:
    if data[:4] != b"\x76\x2f\x31\x01":
        raise ValueError("not an OpenEXR file")
    attributes: dict[str, bytes] = {}
    pos = 8
    while data[pos] != 0:
        name, pos = _text(data, pos)
        _, pos = _text(data, pos)
        (size,) = struct.unpack_from("<i", data, pos)
        attributes[name] = data[pos + 4 : pos + 4 + size]
        pos += 4 + size
    return attributes, pos + 1


def read_exr(path: Path) -> dict[str, np.ndarray]:
    """All channels by full name (for example `ViewLayer.Depth.Z`) as float arrays (H, W)."""
    data = path.read_bytes()
    attributes, pos = _header(data)
    if attributes["compression"] != b"\0":
        raise ValueError("only uncompressed OpenEXR is supported")
    x0, y0, x1, y1 = struct.unpack("<4i", attributes["dataWindow"])
    width, height = x1 - x0 + 1, y1 - y0 + 1
    channels: list[tuple[str, np.dtype]] = []
    raw, at = attributes["channels"], 0
    while raw[at] != 0:
        name, at = _text(raw, at)
        channels.append((name, _TYPES[struct.unpack_from("<i", raw, at)[0]]))
        at += 16
    offsets = struct.unpack_from(f"<{height}Q", data, pos)
    out = {name: np.empty((height, width), np.float32) for name, _ in channels}
    for off in offsets:
        row, at = struct.unpack_from("<i", data, off)[0] - y0, off + 8
        for name, dtype in channels:
            out[name][row] = np.frombuffer(data, dtype, width, at)
            at += width * dtype.itemsize
    return out
