"""Images next to masks of any ids: id maps, ignored ids, lists from a table, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.masks import IGNORE, load_mask
from dg_project.data.readers import read_domain

BINARY = {"ids": {0: 0, 255: 1}}


def read(root: Path, splits: dict[str, str] | None = None, **options: Any) -> pd.DataFrame:
    return read_domain("image_mask", root, "leaves", "source", splits or {"train": "all"}, ["leaf"],
                       options=options)[0]


def mask(root: Path, row: Any) -> np.ndarray:
    return load_mask(root / row["mask"], row["mask_ids"], (row["width"], row["height"])).numpy()


def test_binary_masks(tmp_path: Path) -> None:
    root = layouts.image_mask(tmp_path)
    first = read(root, **BINARY).iloc[0]
    stored = np.array(Image.open(root / first["mask"]))
    assert set(np.unique(stored)) == {0, 255}
    assert np.array_equal(mask(root, first), stored == 255)


def test_ids_are_positions_by_default(tmp_path: Path) -> None:
    root = layouts.image_mask(tmp_path)
    values = np.zeros((layouts.HEIGHT, layouts.WIDTH), np.uint8)
    values[0], values[1] = 30, 11
    for path in (root / "leaves" / "masks").iterdir():
        Image.fromarray(values).save(path)
    found = mask(root, read(root, ignore=[11]).iloc[0])
    assert (found[0] == 30).all()
    assert (found[1] == IGNORE).all()
    assert (found[2:] == 0).all()


def test_lists_of_a_table(tmp_path: Path) -> None:
    root = layouts.image_mask(tmp_path)
    lists = {"train": {"place": ["garden"]}, "test": {"place": ["forest"], "name": ["leaf_7", "leaf_1"]}}
    rows = read(root, {"train": "train", "test": "test"}, **BINARY, index="index.csv", lists=lists)
    assert rows.groupby("split")["image_id"].apply(list).to_dict() == {
        "train": [f"leaf_{number}" for number in range(5)], "test": ["leaf_7"]}


@pytest.mark.parametrize(("options", "message"), [
    ({"ids": {0: 0}}, "holds the ids 255, which 'map:0=0' does not know; add them to data.options.ids or ignore"),
    ({**BINARY, "masks": "mask"}, "Did you mean 'masks'.* data.options.masks"),
    ({**BINARY, "images": "image"}, "Did you mean 'images'"),
    ({**BINARY, "lists": {"all": {"place": ["garden"]}}}, "name it with data.options.index"),
    ({**BINARY, "index": "no.csv", "lists": {"all": {"place": ["garden"]}}}, r"no\.csv' is missing"),
    ({**BINARY, "index": "index.csv", "lists": {"all": {"plaice": ["garden"]}}}, "no column 'plaice'.*'place'"),
    ({**BINARY, "index": "index.csv", "lists": {"all": {"place": ["sea"]}}}, "the split 'all' .* is empty"),
])
def test_options_that_do_not_fit(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(layouts.image_mask(tmp_path), **options)


def test_mask_that_does_not_fit(tmp_path: Path) -> None:
    root = layouts.image_mask(tmp_path)
    path = root / "leaves" / "masks" / "leaf_3.png"
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"leaf_3\.png: it is 7x5, but its image is"):
        read(root, **BINARY)
    path.unlink()
    with pytest.raises(DataError, match=r"leaf_3\.jpg' has no mask"):
        read(root, **BINARY)


def test_ids_beyond_a_byte(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"ids"):
        read(layouts.image_mask(tmp_path), ids={300: 0})
