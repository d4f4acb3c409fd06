"""Figures and pages, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro_datasets import matplotlib, text
from kedro_datasets._typing import HTMLPreview

from dg_project.datasets.atomic import AtomicFile


class FigureDataset(AtomicFile, matplotlib.MatplotlibDataset):
    """A matplotlib figure; loading returns the path of the image (the base class refuses to load)."""

    def load(self) -> Any:
        """Return the path of the newest (or pinned) image."""
        return Path(self._get_load_path())


class HTMLDataset(AtomicFile, text.TextDataset):
    """A self-contained page."""

    def preview(self) -> HTMLPreview:
        """Return the page for Kedro-Viz."""
        return HTMLPreview(self.load())


class MarkdownDataset(AtomicFile, text.TextDataset):
    """A page of Markdown."""
