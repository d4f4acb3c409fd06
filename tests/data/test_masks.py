"""Conversion of masks to train ids (reference: torchvision's Cityscapes), and errors of invalid masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layouts import HEIGHT, WIDTH, deep_png, ids, picture, scene
from PIL import Image
from torchvision.datasets import Cityscapes

from dg_project.config import SEMANTIC_CLASSES
from dg_project.core.errors import DataError
from dg_project.data.masks import COLOURS, ENCODINGS, IGNORE, MAPILLARY, load_mask

SIZE = (WIDTH, HEIGHT)
REFERENCE = {entry.id: (entry.train_id if 0 <= entry.train_id < 19 else 255, entry) for entry in Cityscapes.classes
             if entry.id >= 0}


def every(values: list[int]) -> np.ndarray:
    """An 8-bit map (1, n) with each value once."""
    return np.array([values], np.uint8)


def test_names_and_colours_equal_cityscapes():
    for train_id, entry in REFERENCE.values():
        if train_id != 255:
            assert SEMANTIC_CLASSES[train_id] == entry.name
            assert COLOURS[train_id] == entry.color


@pytest.mark.parametrize("encoding", ["cityscapes_ids", "gta5"])
@pytest.mark.parametrize("palette", [False, True])
def test_label_ids_equal_torchvision(tmp_path, encoding, palette):
    path = ids(tmp_path / "m.png", every(list(REFERENCE)), palette)
    mask = load_mask(path, encoding)
    assert mask.dtype == torch.uint8
    assert mask[0].tolist() == [train_id for train_id, _ in REFERENCE.values()]


def test_colours_equal_torchvision(tmp_path):
    colours = [entry.color for entry in Cityscapes.classes]
    expected = [entry.train_id if 0 <= entry.train_id < 19 else 255 for entry in Cityscapes.classes]
    own = {entry.color: entry.train_id for entry in Cityscapes.classes if 0 <= entry.train_id < 19}
    expected = [own.get(colour, 255) for colour in colours]  # pole groups and license plates have the colours of others
    Image.fromarray(np.array([colours], np.uint8)).save(tmp_path / "m.png")
    assert load_mask(tmp_path / "m.png", "gta5")[0].tolist() == expected
    Image.fromarray(np.array([colours], np.uint8)).convert("RGBA").save(tmp_path / "a.png")
    assert load_mask(tmp_path / "a.png", "gta5")[0].tolist() == expected


def test_train_ids_unchanged(tmp_path):
    path = ids(tmp_path / "m.png", every([*range(19), 255]))
    assert load_mask(path, "train_ids")[0].tolist() == [*range(19), IGNORE]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_synthia_16_bits(tmp_path, channels):
    values = np.zeros((1, 23, channels), np.uint16)
    values[0, :, 0] = range(23)
    values[..., 1:] = 4711  # instances
    mask = load_mask(deep_png(tmp_path / "m.png", values), "synthia")[0].tolist()
    names = {0: "sky", 1: "building", 2: "road", 7: "car", 11: "motorcycle", 14: "traffic light", 20: "wall"}
    assert {k: SEMANTIC_CLASSES[mask[k + 1]] for k in names} == names
    assert mask[0] == mask[13] == mask[14] == mask[22] == IGNORE
    assert len(set(mask)) == 20
    assert load_mask(ids(tmp_path / "eight.png", every(list(range(23)))), "synthia")[0].tolist() == mask


def test_mapillary_and_voc_names(tmp_path):
    mask = load_mask(ids(tmp_path / "m.png", every(list(range(66))), palette=True), "mapillary")[0].tolist()
    endings = {"road": ("road", "general", "manhole"), "sidewalk": ("sidewalk", "curb"), "pole": ("pole",),
               "rider": ("cyclist", "rider"), "train": ("on-rails",), "traffic sign": ("front",)}
    for label, (name, train_id) in MAPILLARY.items():
        assert mask[label] == train_id
        expected = SEMANTIC_CLASSES[train_id]
        assert name.endswith(endings.get(expected, (expected.replace(" ", "-"),)))
    assert sum(value != IGNORE for value in mask) == len(MAPILLARY)
    voc = ["background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
           "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"]
    mask = load_mask(ids(tmp_path / "v.png", every([*range(21), 255]), palette=True), "voc")[0].tolist()
    kept = {voc[k]: SEMANTIC_CLASSES[value] for k, value in enumerate(mask) if value != IGNORE}
    assert kept == {**{name: name for name in ("bicycle", "bus", "car", "person", "train")}, "motorbike": "motorcycle"}


def test_one_bit_mask(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "m.png")
    assert load_mask(tmp_path / "m.png", "train_ids").tolist() == [[1, 0]]


WRONG = {
    "another size": (lambda p: ids(p, np.zeros((5, 4), np.uint8)), "train_ids", r"m\.png: it is 4x5, .* is 40x24"),
    "label ids": (lambda p: ids(p, scene(7, 23, {})), "train_ids", r"m\.png: it holds the ids 23, which 'train_ids'"),
    "many ids": (lambda p: ids(p, scene(0, 0, {k: (k, 6, k + 1, 7) for k in range(30, 39)})), "train_ids",
                 r"the ids 30, 31, 32, 33, 34 …"),
    "16 bits": (lambda p: ids(p, scene(7, 23, {}, np.uint16)), "cityscapes_ids", r"m\.png: it stores 16 bits per pixel"),
    "16-bit colours": (lambda p: deep_png(p, np.zeros((HEIGHT, WIDTH, 3), np.uint16)), "train_ids", r"16 bits per pixel"),
    "too large": (lambda p: deep_png(p, np.full((HEIGHT, WIDTH, 2), 500, np.uint16)), "synthia", r"the ids 500, "),
    "a photograph": (picture, "cityscapes_ids", r"m\.png: it is a colour image"),
    "other colours": (picture, "gta5", r"m\.png: it holds the colours \[\d+, \d+, \d+\], .* …, which 'gta5'"),
    "JPEG": (lambda p: Image.new("L", SIZE).save(p, "JPEG"), "train_ids", r"m\.png: JPEG changes the ids"),
    "text": (lambda p: p.write_text("0 0 0"), "train_ids", r"m\.png: it is truncated or no image"),
    "nothing": (lambda p: None, "train_ids", r"m\.png' is missing"),
    "unknown": (picture, "train_id", r"m\.png: unknown mask_ids 'train_id'\. Did you mean 'train_ids'\?"),
    "floats": (lambda p: Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)).save(p, "TIFF"), "train_ids",
               r"m\.png: it stores float32 numbers"),
}


@pytest.mark.parametrize(("write", "encoding", "message"), WRONG.values(), ids=WRONG)
def test_load_mask_errors(tmp_path, write, encoding, message):
    write(tmp_path / "m.png")
    with pytest.raises(DataError, match=message):
        load_mask(tmp_path / "m.png", encoding, SIZE)


@pytest.mark.parametrize("damage", ["truncated", "a wrong byte"])
def test_damaged_16_bit_mask(tmp_path, damage):
    values = np.random.default_rng(0).integers(0, 20, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    content = bytearray(deep_png(tmp_path / "m.png", values).read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 255
    (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.png: it is truncated or no image"):
        load_mask(tmp_path / "m.png", "synthia", SIZE)


def test_decompression_bomb(tmp_path, monkeypatch):
    ids(tmp_path / "m.png", scene(0, 0, {}))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 3)
    with pytest.raises(DataError, match=r"m\.png: it unpacks to more pixels"):
        load_mask(tmp_path / "m.png", "train_ids")


def test_encodings_give_train_ids():
    for name, encoding in ENCODINGS.items():
        assert encoding.table[255] == IGNORE, name
        assert set(encoding.table.tolist()) <= {*range(19), 254, IGNORE}, name
        assert len(set(encoding.table.tolist()) & set(range(19))) in (6, 19), name
