"""A versioned folder of images, shown as a contact sheet in Kedro-Viz."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from kedro_datasets._typing import ImagePreview

from dg_project.datasets.folder import FolderDataset
from dg_project.datasets.previews import empty_image


class ImageFolderDataset(FolderDataset):
    """A :class:`FolderDataset` of images, in any subfolders, with a preview."""

    def preview(self, images: int = 12, columns: int = 4, width: int = 160) -> ImagePreview:
        """Return a contact sheet of images taken evenly from the folder.

        Args:
            images: maximum number of images.
            columns: images per row.
            width: width of one image in pixels.
        """
        if not self.exists():
            return ImagePreview(empty_image())
        sheet = contact_sheet(self.load(), images, columns, width)
        return ImagePreview(base64.b64encode(sheet).decode())


def contact_sheet(folder: Path, images: int, columns: int, width: int) -> bytes:
    """Return a PNG with a grid of the folder's images; all cells have the aspect ratio of the first image."""
    from PIL import Image

    from dg_project.data.images import IMAGE_SUFFIXES, open_rgb

    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    paths = paths[:: max(1, len(paths) // images)][:images]
    cells: list[Image.Image] = []
    height = width
    for path in paths:
        image = open_rgb(path)
        height = round(width * image.height / image.width) if not cells else height
        cells.append(image.resize((width, height)))
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width, max(1, rows) * height), "white")
    for index, cell in enumerate(cells):
        sheet.paste(cell, (index % columns * width, index // columns * height))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
