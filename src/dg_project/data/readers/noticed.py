"""What a split's samples have in common and no single sample shows: wrong ids of masks, boxes as shares, odd pixels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd

from dg_project.config import SEMANTIC_CLASSES
from dg_project.core.errors import DataError
from dg_project.data.masks import IGNORE, LABEL_IDS, encoding

MOSTLY = 0.5
"""Share from which most of something counts as a fault."""


class Noticed:
    """Counts over the samples of one split, and the messages that follow from them.

    Args:
        where: ``<domain>/<split>``.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._pixels: dict[str, list[str]] = defaultdict(list)
        self._ids: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(256, np.int64))

    def add(self, image: str, pixels: str, mask_ids: str, stored: np.ndarray | None) -> None:
        """Count one sample.

        Args:
            image: path of the image.
            pixels: what is special about its pixels, or ''.
            mask_ids: encoding of its mask, or ''.
            stored: (256,) pixels of each stored id of its mask, or None.
        """
        if pixels:
            self._pixels[pixels].append(image)
        if stored is not None:
            self._ids[mask_ids] += stored

    def messages(self) -> list[str]:
        """Return one message per kind of odd pixels, and one where most pixels of the masks are ignored."""
        found = [f"{self.where}: {len(images)} images, such as '{images[0]}', {what}"
                 for what, images in self._pixels.items()]
        for name, stored in self._ids.items():
            ignored = 1 - _learned(name, stored) / max(stored.sum(), 1)
            if ignored > MOSTLY:
                found.append(f"{self.where}: {ignored:.0%} of the pixels of its '{name}' masks are ignored; check that "
                             f"they hold these ids (they hold {_few(stored)})")
        return found

    def check_masks(self, rows: pd.DataFrame) -> None:
        """Raise ``DataError`` if no mask of the split's rows has a pixel of a class, or label ids look like train ids."""
        for name, stored in self._ids.items():
            learned, total = _learned(name, stored), int(stored.sum())
            present = np.flatnonzero(stored[:IGNORE])
            if name in LABEL_IDS and len(present) and present[-1] < len(SEMANTIC_CLASSES) and \
                    learned < (1 - MOSTLY) * total:
                raise DataError(f"{self.where}: as '{name}' label ids, {1 - learned / total:.0%} of the pixels of its "
                                f"masks are ignored, and they hold {_few(stored)} only: they look like train ids. Name "
                                "such masks <id>_labelTrainIds.png, or restore the label ids")
        masked = rows[rows["mask"] != ""]
        if len(masked) and not masked["mask_pixels"].map(len).any():
            held = "; ".join(f"they hold {_few(stored)}" for stored in self._ids.values())
            raise DataError(f"{self.where}: no mask has a pixel of a class: read as '{masked['mask_ids'].iloc[0]}', all "
                            f"pixels are ignored{held and f' ({held})'}. Restore the masks, or correct the reader and "
                            "its options")


def missing_masks(rows: pd.DataFrame, where: str) -> list[str]:
    """Return a message if some images of a domain have masks and others have none."""
    found = []
    labelled = rows[(rows["boxes"].map(len) > 0) | (rows["mask"] != "")]  # boxes may come from the instance masks
    for column, what, own in (("mask", "semantic mask", rows), ("instances", "instance masks", labelled)):
        lacking = own[own[column] == ""]
        if 0 < len(lacking) < len(own):
            found.append(f"{where}: {len(lacking)} of {len(own)} images, such as '{lacking['image'].iloc[0]}', have no "
                         f"{what}; restore the files, if there should be some")
    return found


def check_box_units(rows: pd.DataFrame, where: str) -> None:
    """Raise ``DataError`` if all boxes of a split lie in the first pixel of their images: shares, not pixels."""
    largest = max((max(box) for boxes in rows["boxes"] for box in boxes), default=np.inf)
    if largest <= 1 and min(rows["width"].min(), rows["height"].min()) > 1:
        raise DataError(f"{where}: all boxes lie within 0..1, so they look like shares of the image, and this layout "
                        "stores pixels: multiply them by its width and height")


def _learned(name: str, stored: np.ndarray) -> int:
    return int(stored[encoding(name).table < IGNORE - 1].sum())


def _few(stored: np.ndarray) -> str:
    present = np.flatnonzero(stored).tolist()
    return f"{', '.join(map(str, present[:8]))}{' …' if len(present) > 8 else ''}"
