"""Figures that are drawn and saved, but whose axes are not aligned: that takes as long as all else in them."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure


def skip_alignment(patch: pytest.MonkeyPatch) -> None:
    """Save all figures without their layout engine, which draws each of them once more to measure it."""
    save = Figure.savefig

    def save_unaligned(figure: Figure, *args: Any, **options: Any) -> None:
        figure._layout_engine = None
        save(figure, *args, **options)

    patch.setattr(Figure, "savefig", save_unaligned)
