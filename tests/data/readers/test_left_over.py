"""Both sides of a data set are reconciled: what has no partner is counted, or stops where it is most of it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from layouts import bdd100k, cityscapes, coco, gta5, image_folder, picture, voc, yolo
from reading import read

from dg_project.core.errors import DataError
from dg_project.data.readers import read_domain
from dg_project.data.readers.flags import flag

CLASSES = ["person", "car", "traffic light"]
NFC, NFD = (unicodedata.normalize(form, "straße_für") for form in ("NFC", "NFD"))


def changed(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def coco_json(root: Path) -> Path:
    return root / "coco" / "annotations" / "instances_train2017.json"


def read_coco(root, **options):
    return read("coco", root, "coco", "train2017", CLASSES, **options)


def stops(message, reader, root, domain, split, classes=CLASSES, **more):
    with pytest.raises(DataError, match=message):
        read_domain(reader, root, domain, "source", {"train": split}, classes, **more)


def test_coco_annotations_of_unknown_images(tmp_path):
    path = coco_json(coco(tmp_path))
    changed(path, lambda c: c["annotations"].append({**c["annotations"][0], "id": 999, "image_id": 12345}))
    assert read_coco(tmp_path).attrs["warnings"] == [
        f"{path}: 1 of 7 annotations have no image, such as '12345'; 'images' has no such id: take the images and "
        "annotations of one version of the file"]
    changed(path, lambda c: [item.update(image_id=12345) for item in c["annotations"][:4]])
    stops(r"instances_train2017\.json: 5 of 7 annotations have no image", "coco", tmp_path, "coco", "train2017")


def test_coco_category_id_twice(tmp_path):
    changed(coco_json(coco(tmp_path)), lambda c: c["categories"].append({"id": 1, "name": "car"}))
    stops("category id 1 is both 'person' and 'car'", "coco", tmp_path, "coco", "train2017")


@pytest.mark.parametrize("reader", ["coco", "voc", "bdd100k"])
def test_boxes_as_shares(tmp_path, reader):
    if reader == "coco":
        changed(coco_json(coco(tmp_path)), lambda c: [i.update(bbox=[0.1, 0.1, 0.5, 0.5]) for i in c["annotations"]])
        where = ("coco", "train2017")
    elif reader == "bdd100k":
        bdd100k(tmp_path)
        changed(tmp_path / "bdd100k/labels/bdd100k_labels_images_train.json", lambda c: [
            item.update(box2d={"x1": 0.1, "y1": 0.1, "x2": 0.5, "y2": 0.6})
            for frame in c for item in frame["labels"] or [] if "box2d" in item])
        where = ("bdd100k", "train")
    else:
        folder = voc(tmp_path) / "VOCdevkit" / "VOC2012" / "Annotations"
        for path in folder.iterdir():
            box = "<bndbox><xmin>0.1</xmin><ymin>0.1</ymin><xmax>0.5</xmax><ymax>0.6</ymax></bndbox>"
            path.write_text(f"<annotation><object><name>car</name>{box}</object></annotation>")
        for kind in ("Class", "Object"):
            for path in (folder.parent / f"Segmentation{kind}").iterdir():
                path.unlink()
        where = ("VOCdevkit", "train")
    options = {"voc": {"year": "VOC2012"}, "bdd100k": {"labels": "det_2018"}}.get(reader, {})
    if reader == "bdd100k":
        for path in (tmp_path / "bdd100k/labels/100k/train").iterdir():
            path.unlink()
        (tmp_path / "bdd100k/labels/100k/train").rmdir()
    stops("all boxes lie within 0..1", reader, tmp_path, *where, options=options)


def test_coco_images_in_another_folder(tmp_path):
    changed(coco_json(coco(tmp_path)), lambda c: [i.update(file_name=f"train2017/{i['file_name']}")
                                                  for i in c["images"]])
    stops(r"data\.options\.images names the folder.*there is a '.*train2017/0", "coco", tmp_path, "coco", "train2017")
    assert len(read_coco(tmp_path, options={"images": "."})) == 3


@pytest.mark.parametrize("value", ["0", "false", 0, 0.0, None, ""])
def test_coco_no_crowd(tmp_path, value):
    changed(coco_json(coco(tmp_path)), lambda c: [item.update(iscrowd=value) for item in c["annotations"]])
    assert not any(flag for row in read_coco(tmp_path)["difficult"] for flag in row)


def test_flags_of_other_readers(tmp_path):
    annotation = voc(tmp_path) / "VOCdevkit" / "VOC2012" / "Annotations" / "2008_000002.xml"
    text = annotation.read_text()
    annotation.write_text(text.replace("<difficult>0", "<difficult>True", 1))
    rows = read("voc", tmp_path, "VOCdevkit", "train", CLASSES, options={"year": "VOC2012"})
    assert rows.loc[0, "difficult"] == [True, False]
    annotation.write_text(text.replace("<difficult>0", "<difficult>perhaps", 1))
    stops("flag in <difficult> of the object 1 .*'perhaps' is no flag", "voc", tmp_path, "VOCdevkit", "train",
          options={"year": "VOC2012"})
    path = bdd100k(tmp_path) / "bdd100k/labels/det_20/det_train.json"
    changed(path, lambda c: c[0]["labels"][0]["attributes"].update(crowd="false", ignored="1"))
    changed(path, lambda c: c[1]["labels"][0]["attributes"].update(crowd="false"))
    rows = read("bdd100k", tmp_path, "bdd100k", "train", ["car", "pedestrian"])
    assert [rows.loc[k, "difficult"][0] for k in range(2)] == [True, False]
    path = cityscapes(tmp_path) / "cityscapes/gtFine/train/aachen/aachen_000000_000019_gtFine_polygons.json"
    (path.with_name(path.name.replace("polygons.json", "instanceIds.png"))).unlink()
    changed(path, lambda c: [item.update(deleted="0") for item in c["objects"]])
    assert len(read("cityscapes", tmp_path, "cityscapes", "train", CLASSES).loc[0, "boxes"]) == 4


@pytest.mark.parametrize("value", ["2", "maybe", -1, [], "0 1"])
def test_flag_unknown(value):
    with pytest.raises(ValueError, match="is no flag"):
        flag(value)


def test_yolo_text_files_of_other_names(tmp_path):
    labels = yolo(tmp_path) / "coco8" / "labels" / "train"
    (labels / "classes.txt").write_text("person\n")
    (labels / "777.txt").write_text("")
    (warning,) = read("yolo", tmp_path, "coco8", "train", CLASSES).attrs["warnings"]
    assert "1 of 3 text files have no image, such as '777'" in warning
    for name in ("000", "001"):
        (labels / f"{name}.txt").rename(labels / f"{name}.jpg.txt")
    stops("no image of '.*' has a text file, and 3 text files", "yolo", tmp_path, "coco8", "train")


def test_labels_without_image_of_other_readers(tmp_path):
    for root, reader, domain, image, split in (
            (voc(tmp_path), "voc", "VOCdevkit", "VOC2012/JPEGImages/2008_000003.jpg", "train"),
            (gta5(tmp_path), "gta5", "gta5", "images/00006.png", "train"),
            (cityscapes(tmp_path), "cityscapes", "cityscapes",
             "leftImg8bit/train/bochum/bochum_000001_000019_leftImg8bit.png", "train")):
        (root / domain / image).unlink()
        if reader == "voc":
            (root / domain / "VOC2012/ImageSets/Main/train.txt").write_text("2008_000002\n")
        options = {"year": "VOC2012"} if reader == "voc" else {}
        (warning,) = read(reader, root, domain, split, CLASSES, options=options).attrs["warnings"][:1]
        assert "have no image, such as" in warning


def test_image_folder_reads_sub_folders(tmp_path):
    image_folder(tmp_path, ("cat", "dog"), images=2)
    picture(tmp_path / "photo" / "cat" / "2020" / "deep" / "9.jpg")
    picture(tmp_path / "photo" / "loose.jpg")
    (tmp_path / "photo" / "cat" / "x.gif").write_bytes(b"GIF89a")
    rows = read("image_folder", tmp_path, "photo", "all", ["cat", "dog"])
    assert rows["image_id"].tolist() == ["cat/pic_000", "cat/pic_001", "cat/2020/deep/9", "dog/pic_000", "dog/pic_001"]
    assert [row[0] for row in rows["labels"]] == [1, 1, 1, 2, 2]
    assert "1 images, such as 'loose.jpg', are in no class folder" in rows.attrs["warnings"][0]
    assert rows.attrs["left_aside"] == ["photo: 1 files with the ending .gif next to its images were not read"]


@pytest.mark.parametrize("layout", ["<objects>{}</objects>", "{}<extra><bndbox><xmin>1</xmin></bndbox></extra>",
                                    '<o xmlns="urn:x">{}</o>'])
def test_voc_objects_elsewhere(tmp_path, layout):
    annotation = voc(tmp_path) / "VOCdevkit" / "VOC2012" / "Annotations" / "2008_000002.xml"
    item = "<object><name>car</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    annotation.write_text(f"<annotation>{layout.format(item)}</annotation>")
    stops("boxes are not in an <object> directly below <annotation>", "voc", tmp_path, "VOCdevkit", "train",
          options={"year": "VOC2012"})


def test_voc_numbers_of_the_file(tmp_path):
    annotation = voc(tmp_path) / "VOCdevkit" / "VOC2012" / "Annotations" / "2008_000002.xml"
    text = annotation.read_text()
    options = {"options": {"year": "VOC2012"}}
    annotation.write_text(text.replace("<xmin>5<", "<xmin>0.35<"))
    assert read("voc", tmp_path, "VOCdevkit", "train", CLASSES, **options).loc[0, "boxes"][0][0] == 0
    annotation.write_text(text.replace("<xmin>5<", "<xmin>-3<"))
    stops(r"the object 1 \('car', xmin -3, ymin 13, xmax 16, ymax 22\): the box .* is outside", "voc", tmp_path,
          "VOCdevkit", "train", **options)
    annotation.write_text(text.replace("<xmin>5<", "<xmin>left<"))
    stops(r"object 1 \('car', xmin left", "voc", tmp_path, "VOCdevkit", "train", **options)
    annotation.write_text(text.replace("bndbox", "polygon"))
    stops(r"the object 1 \('car'\) has no <bndbox>", "voc", tmp_path, "VOCdevkit", "train", **options)


def test_lists_with_endings(tmp_path):
    listed = voc(tmp_path) / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "train.txt"
    listed.write_text("2008_000002.jpg\n2008_000003.JPG\n")
    rows = read("voc", tmp_path, "VOCdevkit", "train", CLASSES, options={"year": "VOC2012"})
    assert rows["image_id"].tolist() == ["2008_000002", "2008_000003"]
    gta5(tmp_path, split=False)
    (tmp_path / "gta5" / "few.txt").write_text("images/00002.png\n00003\n")
    assert read("gta5", tmp_path, "gta5", "few", CLASSES)["image_id"].tolist() == ["00002", "00003"]


def test_names_in_the_other_unicode_form(tmp_path):
    folder = voc(tmp_path, names=(NFD,)) / "VOCdevkit" / "VOC2012"
    (folder / "ImageSets" / "Main" / "train.txt").write_text(f"{NFC}\n")
    rows = read("voc", tmp_path, "VOCdevkit", "train", CLASSES, options={"year": "VOC2012"})
    assert rows["image_id"].tolist() == [NFC]
    assert rows.loc[0, "mask"].endswith(f"{NFD}.png")
    images = coco(tmp_path) / "coco" / "train2017"
    (images / "000000000000.jpg").rename(images / f"{NFD}.jpg")
    changed(coco_json(tmp_path), lambda c: c["images"][0].update(file_name=f"{NFC}.jpg"))
    assert read_coco(tmp_path).loc[0, "image"].endswith(f"{NFD}.jpg")
    for name in ("images", "labels"):
        for path in list((yolo(tmp_path) / "coco8" / name / "train").glob("000.*")):
            path.rename(path.with_stem(NFD if name == "images" else NFC))
    assert len(read("yolo", tmp_path, "coco8", "train", CLASSES).iloc[-1]["boxes"]) == 2
    image_folder(tmp_path, (NFD,), images=1)
    assert read("image_folder", tmp_path, "photo", "all", [NFC]).loc[0, "labels"] == [1]


@pytest.mark.parametrize(("description", "line", "expected"), [
    ("kpt_shape: [4, 2]", "1 .5 .5 .2 .4 .2 .35 .55 .35 .55 .65 .2 .65", [16, 7.2, 24, 16.8]),
    ("kpt_shape: [2, 3]", "1 .5 .5 .2 .4 .2 .35 1 .55 .35 2", [16, 7.2, 24, 16.8]),
    ("kpt_shape: [4, 2]\ntask: segment", "1 .25 .25 .75 .25 .75 .5 .25 .5", [10, 6, 30, 12]),
])
def test_yolo_keypoints_are_no_polygon(tmp_path, description, line, expected):
    folder = yolo(tmp_path) / "coco8"
    with (folder / "data.yaml").open("a") as file:
        file.write(f"\n{description}\n")
    for name in ("000", "001"):
        (folder / "labels" / "train" / f"{name}.txt").write_text(f"{line}\n")
    assert read("yolo", tmp_path, "coco8", "train", CLASSES).loc[0, "boxes"][0] == pytest.approx(expected)


@pytest.mark.parametrize(("description", "message"), [
    ("kpt_shape: [17, 3]", "line 1 .* kpt_shape asks for 56"), ("task: obb", "its task is 'obb'"),
    ("task: pose", "description of keypoints with kpt_shape"), ("flip_idx: [0, 1]", "with kpt_shape"),
    ("kpt_shape: many", "with kpt_shape")])
def test_yolo_keypoints_stop(tmp_path, description, message):
    with (yolo(tmp_path) / "coco8" / "data.yaml").open("a") as file:
        file.write(f"\n{description}\n")
    stops(message, "yolo", tmp_path, "coco8", "train")
