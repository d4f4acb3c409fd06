"""Figures and pages that can be read back, written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro_datasets import matplotlib, text
from kedro_datasets._typing import HTMLPreview

from dg_project.datasets.whole import WholeFile


class FigureDataset(WholeFile, matplotlib.MatplotlibDataset):
    """A matplotlib figure; loading, which the base refuses, returns the path of the image."""

    def load(self) -> Any:
        """Return the path of the newest (or pinned) image."""
        return Path(self._get_load_path())


class HTMLDataset(WholeFile, text.TextDataset):
    """A self-contained page."""

    def preview(self) -> HTMLPreview:
        """Return the page for Kedro-Viz."""
        return HTMLPreview(self.load())


class MarkdownDataset(WholeFile, text.TextDataset):
    """A page of Markdown."""
