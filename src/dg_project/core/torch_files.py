"""Write what ``torch.save`` can hold atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dg_project.core.files import atomic_file


def save(content: Any, path: Path) -> None:
    """Write ``content`` to ``path``, through a sibling that is renamed.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    # torch writes through a file of Python: its own writer answers a full disk with "unexpected pos 704 vs 598".
    with atomic_file(path) as aside, aside.open("wb") as file:
        torch.save(content, file)
