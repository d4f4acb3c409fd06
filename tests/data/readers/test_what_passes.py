"""Odd but legitimate inputs that are read right, from public bug reports of other projects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from layouts import CAR, YOLO_CLASSES, coco, picture, voc, yolo
from PIL import Image
from reading import boxes, read

CLASSES = ["person", "car", "traffic light"]
VOC = {"options": {"year": "VOC2012"}}


def test_category_ids_from_0_with_gaps(tmp_path):
    path = coco(tmp_path) / "coco" / "annotations" / "instances_train2017.json"
    content, new = json.loads(path.read_text()), {1: 0, 3: 17, 10: 90}
    for item in content["categories"]:
        item["id"] = new[item["id"]]
    for item in content["annotations"]:
        item["category_id"] = new[item["category_id"]]
    path.write_text(json.dumps(content))
    row = next(read("coco", tmp_path, "coco", "train2017", CLASSES).itertuples())
    assert [name for name, _, _ in boxes(row, CLASSES)] == ["car", "person", "person"]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    folder = yolo(tmp_path, described=False) / "coco8"
    (folder / "classes.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(YOLO_CLASSES).encode())
    for path in (folder / "labels" / "train").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    row = next(read("yolo", tmp_path, "coco8", "train", YOLO_CLASSES).itertuples())
    assert [name for name, _, _ in boxes(row, YOLO_CLASSES)] == ["car", "person"]


def test_windows_path_decimal_numbers_and_utf_16_in_voc(tmp_path):
    path = voc(tmp_path) / "VOCdevkit" / "VOC2012" / "Annotations" / "2008_000002.xml"
    text = path.read_text().replace("<filename>", "<filename>C:\\images\\").replace("<xmin>5<", "<xmin>5.0<")
    path.write_bytes(f'<?xml version="1.0" encoding="utf-16"?>{text}'.encode("utf-16"))
    assert read("voc", tmp_path, "VOCdevkit", "train", CLASSES, **VOC).loc[0, "boxes"][0] == list(map(float, CAR))


def test_apple_double_files_are_left_out(tmp_path):
    folder = yolo(tmp_path) / "coco8"
    for kind, name in (("images", "._000.jpg"), ("labels", "._000.txt")):
        (folder / kind / "train" / name).write_bytes(b"\x00\x05\x16\x07")
    rows = read("yolo", tmp_path, "coco8", "train", YOLO_CLASSES)
    assert len(rows) == 3
    assert rows.attrs == {"warnings": [], "left_aside": []}


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "1"])
def test_other_pixel_formats(tmp_path, mode):
    path = yolo(tmp_path) / "coco8" / "images" / "train" / "000.jpg"
    image = Image.open(path).convert(mode)
    path.unlink()
    image.save(path if mode == "CMYK" else path.with_suffix(".png"))
    assert len(read("yolo", tmp_path, "coco8", "train", YOLO_CLASSES)) == 3


@pytest.mark.parametrize("size", [(1, 1), (900, 2)])
def test_extreme_sizes(tmp_path, size):
    folder = yolo(tmp_path) / "coco8"
    picture(folder / "images" / "train" / "000.jpg", size=size)
    row = next(read("yolo", tmp_path, "coco8", "train", YOLO_CLASSES).itertuples())
    assert (row.width, row.height) == size
    assert np.isfinite(row.boxes).all()


def test_spaces_and_umlauts(tmp_path):
    root = voc(tmp_path / "mein Ordner ü", names=("große Straße 1",))
    assert read("voc", root, "VOCdevkit", "train", CLASSES, **VOC)["image_id"].tolist() == ["große Straße 1"]
