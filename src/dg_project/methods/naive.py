"""Naive synthetic mixing: pseudo images are simply more training images."""

from __future__ import annotations

from typing import ClassVar

from dg_project.domains.batches import Batching
from dg_project.methods.erm import ERM


class Naive(ERM):
    """``L = L_task`` on images drawn from source and kept pseudo images, with the kept labels."""

    name: ClassVar[str] = "naive"
    batching: ClassVar[Batching] = "mixed"
