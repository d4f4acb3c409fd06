"""Images next to masks of any ids: ``<domain>/images/x.jpg`` and ``<domain>/masks/x.png``; semantic masks only."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from dg_project.config import Params
from dg_project.core.errors import DataError, nearest
from dg_project.data.masks import id_map
from dg_project.data.readers.base import Listing, RawSample, Reader
from dg_project.data.readers.folders import (
    by_stem,
    expected_form,
    first_file,
    listed,
    need_folder,
    need_images,
    plain,
    read_text,
)
from dg_project.data.readers.leftovers import masks_without_image

StoredId = Annotated[int, Field(ge=0, le=255)]


class ImageMaskReader(Reader):
    """Reads ``all`` images, those of ``<split>.txt``, or rows of a table of the whole data set.

    The names in a mask file come from ``options.ids``, so binary masks (0 and 255) need no conversion.
    """

    class Options(Params):
        """Folders, ids and lists."""

        images: str = Field("images", description="folder of the images, in that of the domain")
        masks: str = Field("masks", description="folder of the masks, with the names of the images")
        ids: dict[StoredId, StoredId] = Field({}, description="id in a mask -> position in segmentation.classes; {}: "
                                                              "they are positions")
        ignore: list[StoredId] = Field([], description="ids in a mask that are excluded from losses and scores")
        index: str | None = Field(None, description="table (CSV) with a column name, in data.root")
        lists: dict[str, dict[str, list[str]]] = Field({}, description=(
            "split -> column of the index -> accepted values; a row must fit all columns"))

    options: Options

    def read(self, split: str) -> Listing:
        """List a split."""
        images = self.images(split)
        masks = need_folder(self.place.folder / self.options.masks, "Name the folder of the masks in "
                                                                    "data.options.masks")
        left = masks_without_image(masks, self.place.folder / self.options.images)
        return Listing([(name, partial(_sample, path, masks, self._encoding)) for name, path in images], warnings=left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images of a split; no mask is needed."""
        folder = self.place.folder
        images = need_images(folder / self.options.images, "The image_mask reader expects <root>/<domain>/images and "
                                                           "masks; correct data.root or data.options.images")
        chosen = listed(images, split, folder) if split not in self.options.lists else self._indexed(images, split)
        return [(path.stem, path) for path in chosen]

    @property
    def _encoding(self) -> str:
        return id_map(self.options.ids, self.options.ignore)

    def _indexed(self, images: list[Path], split: str) -> list[Path]:
        """Return the images of this domain in the rows of the index that fit ``options.lists[split]``."""
        if self.options.index is None:
            raise DataError("data.options.lists chooses rows of a table: name it with data.options.index")
        path = self.place.root / self.options.index
        with expected_form(path, "a table (CSV)"):
            table = pd.read_csv(io.StringIO(read_text(path, "correct data.options.index")), dtype=str,
                                keep_default_na=False)
        conditions = self.options.lists[split]
        for column in ("name", *conditions):
            if column not in table:
                raise DataError(f"{path}: it has no column '{column}'.{nearest(column, map(str, table))}")
        fits = pd.Series(True, table.index)
        for column, values in conditions.items():
            fits &= table[column].isin(values)
        known = by_stem(images)
        return [known[plain(name)] for name in table.loc[fits, "name"] if plain(name) in known]


def _sample(image: Path, masks: Path, encoding: str) -> RawSample:
    mask = first_file(masks / f"{image.stem}.png", masks / image.name)
    if mask is None:
        raise DataError(f"'{image}' has no mask: '{masks / f'{image.stem}.png'}' is missing; restore it, or remove the "
                        "image")
    return RawSample(image, mask, mask=mask, mask_ids=encoding)
