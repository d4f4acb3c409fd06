"""Figures and pages, written atomically."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from kedro_datasets import matplotlib, text
from kedro_datasets._typing import HTMLPreview, ImagePreview

from dg_project.datasets.atomic import AtomicFile
from dg_project.datasets.previews import NOT_MADE, empty_image, outline


class FigureDataset(AtomicFile, matplotlib.MatplotlibDataset):
    """A matplotlib figure; loading returns the path of the image (the base class refuses to load).

    The label of the figure, which is its title, is also the title in the metadata of the image.
    """

    def save(self, data: Any) -> None:
        """Write a new version atomically."""
        titled = copy.copy(self)
        titled._save_args = {**self._save_args, "metadata": {"Title": data.get_label()}}
        super(FigureDataset, titled).save(data)

    def preview(self) -> ImagePreview:
        """Return the image for Kedro-Viz."""
        return super().preview() if self.exists() else ImagePreview(empty_image())

    def load(self) -> Any:
        """Return the path of the newest (or pinned) image."""
        return Path(self._get_load_path())


class HTMLDataset(AtomicFile, text.TextDataset):
    """A self-contained page."""

    def preview(self) -> HTMLPreview:
        """Return the top of the page for Kedro-Viz."""
        return HTMLPreview(outline(self.load()) if self.exists() else f"<p>{NOT_MADE}</p>")


class MarkdownDataset(AtomicFile, text.TextDataset):
    """A page of Markdown."""
