"""Copies over splits, sides of boxes and left-over files are seen on the data card."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from layouts import coco, coco_annotations, deep_png, image_folder, voc
from PIL import Image
from reading import read

from dg_project.core.errors import DataError
from dg_project.data.card import data_card, format_card, unlabelled_card
from dg_project.data.dataset import ManifestDataset, check_part
from dg_project.data.readers import read_domain

CLASSES = ["person", "car", "traffic light"]


def test_copies_over_splits(tmp_path):
    root = coco(tmp_path)
    for k in range(2):
        shutil.copy(root / f"coco/train2017/{k:012d}.jpg", root / f"coco/val2017/{100 + k:012d}.jpg")
    rows, _ = read_domain("coco", root, "coco", "source", {"train": "train2017", "val": "val2017"}, CLASSES)
    card = data_card(rows, CLASSES, [])
    assert card["warnings"] == [
        "2 images of coco/val have the same bytes as images of coco/train, such as 'coco/val2017/000000000100.jpg' and "
        "'coco/train2017/000000000000.jpg': scores on them say nothing about unseen images"]
    assert format_card(card).startswith("WARNING 2 images of coco/val")


def test_copies_over_domains_and_within_a_split(tmp_path):
    root = image_folder(tmp_path, ("cat", "dog"), images=2)
    shutil.copy(root / "photo/cat/pic_000.jpg", root / "photo/dog/again.jpg")
    shutil.copy(root / "photo/cat/pic_000.jpg", root / "art_painting/cat/copy.jpg")


    rows = pd.concat([read("image_folder", root, name, "all", ["cat", "dog"]) for name in ("photo", "art_painting")])
    assert [text.split(",")[0] for text in data_card(rows, ["cat", "dog"], [])["warnings"]] == [
        "1 images of art_painting/train have the same bytes as images of photo/train",
        "3 images of photo/train are copies of others in it"]


def test_adapt_image_that_is_a_test_image_under_another_name(tmp_path):
    root = coco(tmp_path)
    shutil.copy(root / "coco/train2017/000000000000.jpg", root / "coco/val2017/000000000100.jpg")
    adapt = read("coco", root, "coco", "train2017", CLASSES)
    test = read("coco", root, "coco", "val2017", CLASSES)
    with pytest.raises(DataError, match=r"the adapt image '.*000\.jpg' has the same bytes as the test image '.*100\.jpg'"):
        unlabelled_card(adapt, test, [])


def test_box_sides_on_the_card(tmp_path):
    rows = read("coco", coco(tmp_path), "coco", "train2017", CLASSES)
    assert data_card(rows, CLASSES, [])["splits"][0]["box_sides_per_class"] == {"person": [3.0, 24.0],
                                                                               "car": [19.5, 32.5]}


def test_images_without_objects_need_no_instance_masks(tmp_path):
    """COCO 2017 has more than a thousand such images."""
    root = coco(tmp_path)
    rows = read("coco", root, "coco", "train2017", CLASSES)
    assert rows["instances"].tolist()[2] == ""
    check_part(rows, "instances")
    _, target = ManifestDataset(rows, root, parts=("instances",))[2]
    assert target["instances"].shape == (0, 24, 40)
    with pytest.raises(DataError, match=r"\(1 of 3 have none\)"):
        check_part(rows.assign(instances=["", *rows["instances"][1:]]), "instances")
    with pytest.raises(DataError, match="has no semantic mask"):
        check_part(rows, "mask")
    assert len(coco_annotations(0, 0)) == len(rows.loc[0, "boxes"])


def test_pixels_sides_and_images_without_labels_on_the_card(tmp_path):
    root = coco(tmp_path)
    Image.new("L", (40, 24)).save(root / "coco/train2017/000000000002.jpg")
    rows = read("coco", root, "coco", "train2017", CLASSES)
    card = data_card(rows, CLASSES, [])
    assert card["splits"][0]["pixel_formats"] == {"RGB, 8 bit": 2, "grey, 8 bit": 1}
    lines = format_card(card).splitlines()
    assert "no box in 1 of 3 images of coco/train" in lines
    assert "sides of boxes in coco/train, pixels: person 3 to 24, car 19.5 to 32.5" in lines
    assert "pixels of coco/train: 2 RGB, 8 bit, 1 grey, 8 bit" in lines
    alike = read("coco", coco(tmp_path / "alike"), "coco", "train2017", CLASSES)
    assert "pixels of all images: RGB, 8 bit" in format_card(data_card(alike, CLASSES, [])).splitlines()


def test_depth_of_16_bits_on_the_card(tmp_path):
    root = image_folder(tmp_path, ("cat", "dog"), images=1)
    Image.fromarray(np.full((24, 40), 40000, np.uint16)).save(root / "photo/cat/deep.png")
    deep_png(root / "photo/dog/deeper.png", np.full((24, 40, 3), 40000, np.uint16))
    rows = read("image_folder", root, "photo", "all", ["cat", "dog"])
    assert data_card(rows, ["cat", "dog"], [])["splits"][0]["pixel_formats"] == {
        "RGB, 8 bit": 2, "grey, 16 bit": 1, "RGB, 16 bit": 1}


def test_masks_of_some_images_only(tmp_path):
    rows = read("voc", voc(tmp_path), "VOCdevkit", "train", CLASSES, options={"year": "VOC2012", "mask_ids": "voc"})
    assert not [text for text in rows.attrs["warnings"] if "have no" in text]
    folder = tmp_path / "VOCdevkit/VOC2012"
    for kind in ("SegmentationClass", "SegmentationObject"):
        (folder / kind / "2008_000002.png").unlink()
    rows = read("voc", tmp_path, "VOCdevkit", "train", CLASSES, options={"year": "VOC2012", "mask_ids": "voc"})
    told = [text for text in rows.attrs["warnings"] if "1 of 2 images, such as" in text]
    assert [what in text for what, text in zip(("semantic mask", "instance masks"), told, strict=True)] == [True, True]
    (folder / "SegmentationClass" / "2008_000002.png").symlink_to("/nowhere")
    with pytest.raises(DataError, match="leaves its root|is missing"):
        read("voc", tmp_path, "VOCdevkit", "train", CLASSES, options={"year": "VOC2012", "mask_ids": "voc"})
