"""SYNTHIA-RAND-CITYSCAPES: ``RGB/0000000.png`` and ``GT/LABELS/0000000.png``; semantic masks only."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dg_project.core.errors import DataError
from dg_project.data.readers.base import Listing, RawSample, Reader
from dg_project.data.readers.folders import first_file, listed, need_folder, need_images
from dg_project.data.readers.leftovers import masks_without_image


class SYNTHIAReader(Reader):
    """Reads ``all`` images, or those of ``<split>.txt``.

    Masks are the published 16-bit files (class and instance in two channels), 8-bit classes, or train ids named
    ``<id>_labelTrainIds.png``.
    """

    def read(self, split: str) -> Listing:
        """List a split."""
        images = self.images(split)
        labels = need_folder(self.place.folder / "GT" / "LABELS", "The synthia reader expects the masks there")
        left = masks_without_image(labels, self.place.folder / "RGB")
        return Listing([(name, partial(_sample, path, labels)) for name, path in images], warnings=left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images of a split; no mask is needed."""
        folder = self.place.folder
        images = need_images(folder / "RGB", "The synthia reader expects <root>/<domain>/RGB and GT/LABELS, as in "
                                             "RAND_CITYSCAPES; correct data.root")
        return [(path.stem, path) for path in listed(images, split, folder)]


def _sample(image: Path, labels: Path) -> RawSample:
    ids, train_ids = labels / f"{image.stem}.png", labels / f"{image.stem}_labelTrainIds.png"
    if (mask := first_file(train_ids, ids)) is None:
        raise DataError(f"'{image}' has no mask: '{ids}' is missing; restore it")
    return RawSample(image, mask, mask=mask, mask_ids="train_ids" if mask == train_ids else "synthia")
