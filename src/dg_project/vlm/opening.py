"""Open a teacher by name; the files in its folder tell its kind."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dg_project.core.files import folder_hash
from dg_project.vlm.base import Teacher
from dg_project.vlm.clip import OPEN_CLIP, OpenCLIP, TransformersCLIP
from dg_project.vlm.clip_like import CARD, ClipLike


@lru_cache(maxsize=2)
def open_teacher(name: str) -> Teacher:
    """Open a teacher; the last two stay in memory.

    Args:
        name: folder of a CLIP-like teacher (``teacher.json``), folder or hub name of a CLIP model of transformers, or
            ``open_clip:<architecture>/<weights>``.

    Raises:
        CheckpointError: it cannot be opened.
    """
    if name.startswith(OPEN_CLIP):
        return OpenCLIP(name)
    folder = Path(name)
    return ClipLike.open(folder) if (folder / CARD).is_file() else TransformersCLIP(name)


def teacher_fingerprint(name: str) -> str:
    """Return what identifies a teacher: the hash of its folder, or its name if it is downloaded."""
    folder = Path(name)
    return folder_hash(folder) if folder.is_dir() else name
