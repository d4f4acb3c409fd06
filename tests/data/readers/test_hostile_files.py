"""Files that were made to harm are refused with one clear line, or do no harm."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from layouts import YOLO_CLASSES, bdd100k, cityscapes, coco, image_folder, image_mask, picture, voc, write_json, yolo
from PIL import Image
from reading import read

from dg_project.core.errors import DataError
from dg_project.data.images import FORMATS
from dg_project.data.readers import read_domain

CLASSES = ["person", "car", "traffic light"]
VOC = {"options": {"year": "VOC2012"}}
ESCAPES = "a\x1b]0;owned\x07\x1b[2Jb.jpg"
LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))


def stops(message: str, reader: str, root: Path, domain: str, split: str, **more: Any) -> str:
    """Return the message of the error, which is one printable line."""
    with pytest.raises(DataError, match=message) as caught:
        read_domain(reader, root, domain, "source", {"train": split}, more.pop("classes", CLASSES), **more)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) \
        + chunk(b"IDAT", zlib.compress(b"\0" * 9000)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    packed = zlib.compress(b"\0" * (80 << 20))
    content = b"Comment\0\0" + packed
    end = png_header(4, 4)
    return end[:33] + struct.pack(">I", len(content)) + b"zTXt" + content + struct.pack(
        ">I", zlib.crc32(b"zTXt" + content)) + end[33:]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 24\n(%pipe%touch owned) (w) file\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(("content", "message"), [
    (png_header(200_000, 200_000), "more pixels than any data set has"),
    (png_header(2**31 - 1, 2**31 - 1), r"more pixels than any data set has|truncated or no image"),
    (png_header(0, 24), "truncated or no image"),
    (text_bomb(), "truncated or no image"),
    (EPS, "truncated or no image"),
    (SVG, "truncated or no image"),
    (b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\xf7\0\0", "truncated or no image|more pixels"),
], ids=["bomb", "largest", "no width", "text bomb", "eps", "svg", "gif"])
def test_images(tmp_path: Path, content: bytes, message: str) -> None:
    yolo(tmp_path)
    (tmp_path / "coco8/images/train/000.jpg").write_bytes(content)
    stops(message, "yolo", tmp_path, "coco8", "train", classes=YOLO_CLASSES)


def test_formats_that_start_programs_are_not_opened() -> None:
    Image.init()
    assert {"EPS", "WMF", "FITS", "PDF", "MPEG"}.isdisjoint(FORMATS)
    assert set(FORMATS) <= set(Image.OPEN)


def test_svg_is_no_image_of_a_folder(tmp_path: Path) -> None:
    image_folder(tmp_path, ("cat", "dog"), images=2)
    (tmp_path / "photo/cat/x.svg").write_bytes(SVG)
    rows = read("image_folder", tmp_path, "photo", "all", ["cat", "dog"])
    assert not [name for name in rows["image"] if name.endswith("svg")]
    assert rows.attrs["left_aside"] == ["photo: 1 files with the ending .svg next to its images were not read"]


def test_mask_of_absurd_size(tmp_path: Path) -> None:
    image_mask(tmp_path)
    mask = next((tmp_path / "leaves/masks").iterdir())
    mask.write_bytes(png_header(200_000, 200_000))
    stops("more pixels than any data set has", "image_mask", tmp_path, "leaves", "all", mask_classes=("a", "b"),
          options={"ids": {0: 0, 255: 1}})


@pytest.mark.parametrize(("name", "message"), [
    ("../../../etc/passwd", "leaves its root"), ("/etc/passwd", "leaves its root"), ("..", r"leaves|missing|no image"),
    ("a\0b.jpg", "cannot be resolved"), ("x" * 300 + ".jpg", "longer than 255"), ("/", "leaves its root|is not a COCO"),
    (ESCAPES, "control character"), ("a\nb.jpg", "control character"), ("a\ud800.jpg", "control character"),
    ("[a-", "is missing"), ("**", "is missing"),
])
def test_names_in_coco(tmp_path: Path, name: str, message: str) -> None:
    path = coco(tmp_path) / "coco/annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    stops(message, "coco", tmp_path, "coco", "train2017")
    content["images"] = content["images"][:1]  # no other image is found
    content["annotations"] = []
    path.write_text(json.dumps(content))
    stops(message, "coco", tmp_path, "coco", "train2017")


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", ESCAPES, "x" * 300, "", "a\0b.jpg"])
def test_names_in_bdd100k(tmp_path: Path, name: str) -> None:
    path = bdd100k(tmp_path) / "bdd100k/labels/det_20/det_train.json"
    frames = json.loads(path.read_text())
    frames[0]["name"] = name
    write_json(path, frames)
    stops("leaves its root|control character|cannot be resolved|truncated or no image|is missing", "bdd100k", tmp_path, "bdd100k",
          "train", other_classes="ignore")


@pytest.mark.parametrize("line", ["../../../etc/passwd", "/etc/passwd", "x" * 300, "a\x1b[2Jb", "2008_000002\n2008_000002"])
def test_names_in_voc_lists(tmp_path: Path, line: str) -> None:
    listed = voc(tmp_path) / "VOCdevkit/VOC2012/ImageSets/Main/train.txt"
    listed.write_text(f"{line}\n")
    stops("leaves its root|control character|longer than|is missing|comes twice", "voc", tmp_path, "VOCdevkit", "train",
          **VOC)


@pytest.mark.parametrize("line", ["../../../etc/passwd", "/etc/passwd", "images/train/" + "x" * 300 + ".jpg",
                                  "images/train/\x1b[2J.jpg", "images/../../../x.jpg"])
def test_names_in_yolo_lists(tmp_path: Path, line: str) -> None:
    folder = yolo(tmp_path) / "coco8"
    (folder / "train.txt").write_text(f"{line}\n")
    described = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(described.replace("train: images/train", "train: train.txt"))
    stops("leaves its root|control character|longer than|is missing", "yolo", tmp_path, "coco8", "train",
          classes=YOLO_CLASSES)


def test_cityscapes_links_out_of_the_root(tmp_path: Path) -> None:
    root = cityscapes(tmp_path / "data")
    outside = picture(tmp_path / "secret.png")
    image = next((root / "cityscapes/leftImg8bit/train/aachen").iterdir())
    image.unlink()
    image.symlink_to(outside)
    stops("leaves its root", "cityscapes", root, "cityscapes", "train")


@pytest.mark.parametrize("body", [
    f"<!DOCTYPE a [<!ENTITY l0 \"laugh\">{LAUGHS}]><annotation><filename>&l9;</filename></annotation>",
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>',
    '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><annotation><filename>&x;</filename></annotation>',
    "<a>" * 5000,
], ids=["laughs", "file", "network", "unclosed"])
def test_xml_entities(tmp_path: Path, body: str) -> None:
    path = voc(tmp_path) / "VOCdevkit/VOC2012/Annotations/2008_000002.xml"
    path.write_text(body)
    stops("not well-formed XML", "voc", tmp_path, "VOCdevkit", "train", **VOC)


@pytest.mark.parametrize("text", [
    "names: !!python/object/apply:os.system ['touch owned']\ntrain: images/train\n",
    "names: !!python/name:os.system\ntrain: images/train\n",
    "a: &a [x, x]\nb: &b [*a, *a]\nnames: *b\ntrain: images/train\n",
    "names: " + "[" * 3000 + "\n", "names: [2001-99-99]\ntrain: images/train\n", "names: {0: {}}\n- x\n",
], ids=["object", "name", "aliases", "deep", "date", "mixed"])
def test_yaml_tags_and_aliases(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (yolo(tmp_path) / "coco8/data.yaml").write_text(text)
    stops("not well-formed YAML", "yolo", tmp_path, "coco8", "train", classes=YOLO_CLASSES)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"images": ' + "9" * 5000 + "}", '{"images": [{"id": 1e999}]}', "NaN",
                                  '{"images": {"a": 1}, "categories": [], "annotations": []}'])
def test_json_bombs(tmp_path: Path, text: str) -> None:
    (coco(tmp_path) / "coco/annotations/instances_train2017.json").write_text(text)
    stops("not well-formed JSON|is not a COCO annotation", "coco", tmp_path, "coco", "train2017")


def test_links_in_a_circle(tmp_path: Path) -> None:
    root = image_folder(tmp_path, ("cat", "dog"), images=2)
    (root / "photo/cat/more").symlink_to(root / "photo/dog")
    (root / "photo/dog/more").symlink_to(root / "photo/cat")
    rows = read("image_folder", root, "photo", "all", ["cat", "dog"])
    assert len(rows) == 8, "each folder is read once below each class, not forty times"
    (root / "photo/cat/loop.jpg").symlink_to(root / "photo/cat/loop.jpg")
    stops("truncated or no image|cannot be resolved", "image_folder", root, "photo", "all", classes=["cat", "dog"])


@pytest.mark.parametrize("name", [ESCAPES, "a\nINFO everything is fine.jpg"])
def test_names_of_files_are_not_echoed_raw(tmp_path: Path, name: str) -> None:
    root = image_folder(tmp_path, ("cat", "dog"), images=2)
    picture(root / "photo/cat" / name)
    message = stops("control character", "image_folder", root, "photo", "all", classes=["cat", "dog"])
    assert "\\x1b" in message or "\\n" in message or "INFO" in message
    picture(root / "photo" / f"dog\x1b[2J/{1}.jpg")
    stops(r"the classes 'dog\\x1b\[2J' are not in", "image_folder", root, "photo", "all", classes=["cat", "dog"])


@pytest.mark.parametrize("table", ["name,split\n\"a", "", "name\n\n\0\n", "name,split\na,b,c,d\n"])
def test_tables(tmp_path: Path, table: str) -> None:
    image_mask(tmp_path)
    (tmp_path / "index.csv").write_text(table)
    options = {"index": "index.csv", "lists": {"train": {"split": ["x"]}}}
    stops("is not a table|has no column|is empty", "image_mask", tmp_path, "leaves", "train", options=options,
          mask_classes=("a", "b"))
