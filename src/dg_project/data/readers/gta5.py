"""GTA5 (Playing for Data): ``images/00001.png`` and ``labels/00001.png``; semantic masks only."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from dg_project.core.errors import DataError
from dg_project.data.readers.base import Listing, RawSample, Reader
from dg_project.data.readers.folders import ALL, by_stem, first_file, listed, need_folder, need_images
from dg_project.data.readers.leftovers import masks_without_image


class GTA5Reader(Reader):
    """Reads splits from the authors' ``split.mat`` or ``<split>.txt``, or ``all`` images."""

    def read(self, split: str) -> Listing:
        """List a split."""
        images = self.images(split)
        labels = need_folder(self.place.folder / "labels", "The gta5 reader expects the masks there")
        left = masks_without_image(labels, self.place.folder / "images")
        return Listing([(name, partial(_sample, path, labels)) for name, path in images], warnings=left)

    def images(self, split: str) -> list[tuple[str, Path]]:
        """List the images of a split; no mask is needed."""
        folder = self.place.folder
        images = need_images(folder / "images", "The gta5 reader expects <root>/<domain>/images and labels; correct "
                                                "data.root")
        matlab = folder / "split.mat"
        if split != ALL and matlab.is_file():
            numbered = {int(stem): path for stem, path in by_stem(images).items() if stem.isdecimal()}
            chosen = _official(matlab, split)
            if missing := sorted(chosen - numbered.keys()):
                raise DataError(f"{matlab}: its split '{split}' has {len(missing)} images that are not in "
                                f"'{folder / 'images'}', such as {missing[0]:05d}; unpack all ten archives of the "
                                "images, or take shares of the split 'all' in data.splits")
            images = [numbered[number] for number in sorted(chosen)]
        else:
            images = listed(images, split, folder, f"put the authors' split.mat into '{folder}'")
        return [(path.stem, path) for path in images]


def _official(path: Path, split: str) -> set[int]:
    """Return the image numbers of a split of split.mat."""
    try:
        content = loadmat(path)
    except (OSError, ValueError, TypeError, IndexError, NotImplementedError, MatReadError, zlib.error) as error:
        raise DataError(f"{path}: it is not a MATLAB file ({error}); restore it") from error
    if f"{split}Ids" not in content:
        raise DataError(f"{path}: it has no split '{split}', but {sorted(k for k in content if k.endswith('Ids'))}; "
                        "use train, val, test or all in data.splits")
    return {int(number) for number in content[f"{split}Ids"].ravel()}


def _sample(image: Path, labels: Path) -> RawSample:
    ids, train_ids = labels / f"{image.stem}.png", labels / f"{image.stem}_labelTrainIds.png"
    if (mask := first_file(train_ids, ids)) is None:
        raise DataError(f"'{image}' has no mask: '{ids}' is missing; unpack all ten archives of the labels")
    return RawSample(image, mask, mask=mask, mask_ids="train_ids" if mask == train_ids else "gta5")
