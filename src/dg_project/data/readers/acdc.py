"""ACDC: ``rgb_anon/<condition>/<split>/<sequence>`` and ``gt``; semantic masks only."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from dg_project.config import Params
from dg_project.core.errors import DataError
from dg_project.data.readers.base import Listing, RawSample, Reader
from dg_project.data.readers.folders import first_file, folders_in, images_in, need_folder
from dg_project.data.readers.leftovers import names_in, without_image

Condition = Literal["fog", "night", "rain", "snow"]
CONDITIONS: tuple[Condition, ...] = ("fog", "night", "rain", "snow")
_TAIL = "_rgb_anon"


class ACDCReader(Reader):
    """Reads one adverse condition, or all four."""

    class Options(Params):
        """Selection of images."""

        condition: Condition | None = Field(None, description="fog, night, rain or snow; None: all four")

    options: Options

    def read(self, split: str) -> Listing:
        """List the frames of all sequences of a split."""
        samples, left = [], []
        for condition in self._conditions():
            frames = self._frames(condition, split)
            truth = need_folder(self.place.folder / "gt" / condition / split, "Unpack gt_trainval.zip there")
            samples += [(name, partial(_sample, path, truth / path.parent.name)) for name, path in frames]
            masks = [name for sequence in folders_in(truth) for name in names_in(sequence, ".png", "_gt_labelIds")]
            left += without_image(masks, [name for name, _ in frames], "masks", truth, "restore the images", stop=False)
        return Listing(samples, warnings=left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the frames of all sequences of a split; no ground truth is needed."""
        return [frame for condition in self._conditions() for frame in self._frames(condition, split)]

    def _conditions(self) -> tuple[Condition, ...]:
        return (self.options.condition,) if self.options.condition else CONDITIONS

    def _frames(self, condition: Condition, split: str) -> list[tuple[str, Path]]:
        folder = need_folder(self.place.folder / "rgb_anon" / condition / split,
                             "The acdc reader expects <root>/<domain>/rgb_anon/<condition>/<split>/<sequence>; correct "
                             "data.splits or data.root")
        frames = [path for sequence in folders_in(folder) for path in images_in(sequence)]
        return [(path.stem.removesuffix(_TAIL), path) for path in frames if path.stem.endswith(_TAIL)]


def _sample(image: Path, truth: Path) -> RawSample:
    name = image.stem.removesuffix(_TAIL)
    ids, train_ids = (truth / f"{name}_gt_{kind}.png" for kind in ("labelIds", "labelTrainIds"))
    if (mask := first_file(train_ids, ids)) is None:
        raise DataError(f"'{image}' has no ground truth: '{train_ids}' is missing. Unpack gt_trainval.zip there; the "
                        "test split has none")
    return RawSample(image, mask, mask=mask, mask_ids="train_ids" if mask == train_ids else "cityscapes_ids")
