"""Masks with legal ids that mean something else: palettes, train ids in place, nothing but ignored pixels."""

from __future__ import annotations

import numpy as np
import pytest
from layouts import HEIGHT, WIDTH, cityscapes, gta5, ids, image_mask, scene, voc
from PIL import Image
from reading import read

from dg_project.core.errors import DataError
from dg_project.data.card import data_card, format_card
from dg_project.data.masks import COLOURS, ENCODINGS, count_pixels, load_mask
from dg_project.data.readers import read_domain


def with_palette(path, values, colours):
    image = Image.fromarray(values.astype(np.uint8), "P")
    image.putpalette(np.asarray(colours, np.uint8).tobytes())
    image.save(path)


def reindexed(path):
    """Colours of road, building, sky and car at the indices 0 to 3, as editors that optimise palettes write them."""
    with_palette(path, scene(0, 2, {1: (0, 8, 9, 12), 3: (4, 12, 16, 22)}), [COLOURS[k] for k in (0, 2, 10, 13)])


def stops(message, reader, root, domain, split, **more):
    with pytest.raises(DataError, match=message):
        read_domain(reader, root, domain, "source", {"train": split}, ["car", "person"], **more)


@pytest.mark.parametrize("reader", ["gta5", "cityscapes"])
def test_palette_that_contradicts_the_ids(tmp_path, reader):
    root = gta5(tmp_path, split=False) if reader == "gta5" else cityscapes(tmp_path)
    path = tmp_path / ("gta5/labels/00001.png" if reader == "gta5" else
                       "cityscapes/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png")
    reindexed(path)
    stops(rf"{path.name}: its palette contradicts its ids: the colour .* of the id \d is '\w+', but as", reader, root,
          reader, "all" if reader == "gta5" else "train")


def test_palette_of_voc(tmp_path):
    colours = [(0, 0, 0), *ENCODINGS["voc"].palette]
    assert colours[1] == (128, 0, 0)
    assert colours[15] == (192, 128, 128)
    assert colours[20] == (0, 64, 128)
    path = tmp_path / "m.png"
    with_palette(path, np.array([[0, 7, 15]]), colours)
    assert load_mask(path, "voc").tolist() == [[255, 13, 11]]
    with_palette(path, np.array([[0, 1, 2]]), [colours[k] for k in (0, 7, 15)])
    with pytest.raises(DataError, match="the colour .* of the id 1 is 'car', but as 'voc' the id is 'ignored'"):
        load_mask(path, "voc")


def test_palette_of_gta5(tmp_path):
    """Licence plates (34) have the colour of cars in the published files."""
    colours = np.zeros((35, 3), np.uint8)
    colours[[7, 26, 34]] = COLOURS[0], COLOURS[13], COLOURS[13]
    with_palette(tmp_path / "m.png", np.array([[7, 26, 34]]), colours)
    assert load_mask(tmp_path / "m.png", "gta5").tolist() == [[0, 13, 255]]


@pytest.mark.parametrize("reader", ["gta5", "cityscapes"])
def test_train_ids_in_place(tmp_path, reader):
    root = gta5(tmp_path, split=False) if reader == "gta5" else cityscapes(tmp_path)
    pattern = "gta5/labels/*.png" if reader == "gta5" else "cityscapes/gtFine/train/*/*_labelIds.png"
    for path in root.glob(pattern):
        ids(path, scene(0, 10, {2: (0, 6, 9, 12), 13: (4, 12, 16, 22)}))
    stops(r"\d+% of the pixels of its masks are ignored, and they hold 0, 2, 10, 13 only: they look like train ids",
          reader, root, reader, "all" if reader == "gta5" else "train")


@pytest.mark.parametrize("reader", ["gta5", "image_mask", "voc"])
def test_no_pixel_of_a_class(tmp_path, reader):
    if reader == "gta5":
        root, where, value, more = gta5(tmp_path, split=False), ("gta5", "all"), 0, {}
        masks = root / "gta5" / "labels"
    elif reader == "voc":
        root, where, value = voc(tmp_path), ("VOCdevkit", "train"), 0
        masks, more = root / "VOCdevkit/VOC2012/SegmentationClass", {"options": {"year": "VOC2012", "mask_ids": "voc"}}
        for path in (root / "VOCdevkit/VOC2012/SegmentationObject").iterdir():
            path.unlink()
    else:
        root, where, value = image_mask(tmp_path), ("leaves", "all"), 255
        masks, more = root / "leaves" / "masks", {"options": {"ids": {0: 0}, "ignore": [255]}}
    for path in masks.iterdir():
        ids(path, np.full((HEIGHT, WIDTH), value, np.uint8))
    with pytest.raises(DataError, match=r"no mask has a pixel of a class|look like train ids"):
        read_domain(reader, root, where[0], "source", {"train": where[1]}, ["car", "person"], **more)


def test_no_pixel_of_a_class_in_colours(tmp_path):
    for path in (gta5(tmp_path, split=False) / "gta5" / "labels").iterdir():
        Image.new("RGB", (WIDTH, HEIGHT), (20, 20, 20)).save(path)
    stops("no mask has a pixel of a class: read as 'gta5', all pixels are ignored", "gta5", tmp_path, "gta5", "all")


def test_pixels_on_the_card(tmp_path):
    rows = read("gta5", gta5(tmp_path, split=False), "gta5", "all", ["car"])
    (entry,) = data_card(rows, ["car"], [])["splits"]
    assert entry["mask_pixels"]["car"] == [6 * 114, 6]
    assert entry["mask_pixels"]["fence"] == [0, 0]
    text = format_card(data_card(rows, ["car"], []))
    assert "mask pixels of gta5/train (share, images): road" in text
    assert "no pixel of sidewalk, building" in text


def test_mostly_ignored_pixels_are_told(tmp_path):
    for path in (gta5(tmp_path, split=False) / "gta5" / "labels").iterdir():
        ids(path, scene(0, 23, {26: (4, 12, 16, 22)}))
    (warning,) = read("gta5", tmp_path, "gta5", "all", ["car"]).attrs["warnings"]
    assert "% of the pixels of its 'gta5' masks are ignored" in warning


def test_names_of_masks_with_other_ids(tmp_path):
    root = image_mask(tmp_path)
    rows = read("image_mask", root, "leaves", "all", ["leaf"], options={"ids": {0: 0, 255: 1}},
                mask_classes=["background", "leaf"])
    assert rows["mask_classes"].unique().tolist() == ['["background", "leaf"]']
    assert rows.loc[0, "mask_pixels"] == [WIDTH * HEIGHT - 120, 120]


def test_count_pixels():
    values = np.random.default_rng(0).integers(0, 256, (31, 17), dtype=np.uint8)
    assert count_pixels(values).tolist() == np.bincount(values.ravel(), minlength=256).tolist()
