import shutil

import pytest
from layouts import CAR, PERSON, YOLO_CLASSES, picture, yolo, yolo_line
from reading import boxes, read, stops_and_skips

from dg_project.core.errors import DataError
from dg_project.data.readers import read_domain

EXPECTED = [("car", tuple(map(float, CAR)), False), ("person", tuple(map(float, PERSON)), False)]


@pytest.fixture
def root(tmp_path):
    return yolo(tmp_path)


def arguments(root, split="train"):
    return {"reader": "yolo", "root": root, "domain": "coco8", "role": "source", "splits": {"train": split},
            "classes": YOLO_CLASSES}


def close(found):
    return [(name, tuple(round(v, 3) for v in box), flag) for name, box, flag in found]


@pytest.mark.parametrize("described", [True, False])
def test_yolo_boxes(tmp_path, described):
    root = yolo(tmp_path, described=described)
    for split in ("train", "val"):
        manifest = read("yolo", root, "coco8", split, YOLO_CLASSES)
        assert manifest["image_id"].tolist() == [f"{split}/{k:03d}" for k in range(3)]
        for row in list(manifest.itertuples())[:2]:
            assert close(boxes(row, YOLO_CLASSES)) == EXPECTED
        assert manifest.loc[2, "boxes"] == []  # no text file: no objects


def test_yolo_split_folders(root):
    """Exports of labelling tools: train/images, train/labels, paths that begin with ``../``."""
    folder = root / "coco8"
    for kind in ("images", "labels"):
        (folder / "train").mkdir(exist_ok=True)
        (folder / kind / "train").rename(folder / "train" / kind)
    (folder / "data.yaml").write_text("train: ../train/images\nnc: 3\nnames: ['person', 'car', 'traffic light']\n")
    assert close(boxes(next(read("yolo", root, "coco8", "train", YOLO_CLASSES).itertuples()), YOLO_CLASSES)) == EXPECTED
    (folder / "data.yaml").unlink()
    (folder / "classes.txt").write_text("\n".join(YOLO_CLASSES))
    assert len(read("yolo", root, "coco8", "train", YOLO_CLASSES)) == 3


@pytest.mark.parametrize("prefix", ["./images/train/", "images/train/", "/home/me/coco8/images/train/",
                                    "..\\images\\train\\"])
def test_yolo_list_split(root, prefix):
    (root / "coco8" / "train.txt").write_text(f"{prefix}001.jpg\n{prefix}000.jpg\n\n")
    text = (root / "coco8" / "data.yaml").read_text()
    (root / "coco8" / "data.yaml").write_text(text.replace("train: images/train", "train: [train.txt]"))
    manifest = read("yolo", root, "coco8", "train", YOLO_CLASSES)
    assert manifest["image_id"].tolist() == ["train/001", "train/000"]
    assert len(manifest.loc[0, "boxes"]) == 2


def test_yolo_polygons(root):
    path = root / "coco8" / "labels" / "train" / "000.txt"
    path.write_text("1 0.1 0.5 0.4 0.5 0.25 0.75\n")
    assert close(boxes(next(read("yolo", root, "coco8", "train", YOLO_CLASSES).itertuples()), YOLO_CLASSES)) == [
        ("car", (4.0, 12.0, 16.0, 18.0), False)]


def test_yolo_rounding_over_border(root):
    (root / "coco8" / "labels" / "train" / "000.txt").write_text("1 0.500001 0.5 1.000001 1.000000\n")
    box = read("yolo", root, "coco8", "train", YOLO_CLASSES).loc[0, "boxes"][0]
    assert box == pytest.approx([0, 0, 40, 24], abs=1e-3)
    assert box[2] <= 40


BREAKS = {
    "class": ("7 0.5 0.5 0.1 0.1", r"001\.txt: line 1 has the class 7, but the classes are \[0, 1, 2\]"),
    "zero area": ("1 0.5 0.5 0 0.1", r"001\.txt.*inverted or empty"),
    "pixels": ("1 20 12 6 6", r"001\.txt.*outside the 40x24"),
    "four words": ("1 0.5 0.5 0.1", r"001\.txt: it is not 'class cx cy w h' in line 1"),
    "words": ("car 0.5 0.5 0.1 0.1", r"001\.txt: it is not 'class cx cy w h' in line 1"),
    "confidence": ("1 0.5 0.5 0.1 0.1 0.9", r"6 numbers"),
    "NaN": ("1 nan 0.5 0.1 0.1", r"not finite"),
}


@pytest.mark.parametrize(("line", "message"), BREAKS.values(), ids=BREAKS)
def test_broken_sample_stops_or_skips(root, line, message):
    (root / "coco8" / "labels" / "train" / "001.txt").write_text(line + "\n")
    assert stops_and_skips(message, **arguments(root))["image_id"].tolist() == ["train/000", "train/002"]


def test_yolo_missing_paths(root):
    folder = root / "coco8"
    with pytest.raises(DataError, match=r"data\.yaml' names no split 'test'\. Known: train, val\. Correct"):
        read_domain(**arguments(root, "test"))
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(text.replace("images/train", "imagse/train"))
    with pytest.raises(DataError, match=r"'.*imagse/train' is missing\. Did you mean 'images'\?"):
        read_domain(**arguments(root))
    (folder / "data.yaml").write_text("names: [a\n")
    with pytest.raises(DataError, match=r"data\.yaml: it is not well-formed YAML"):
        read_domain(**arguments(root))
    (folder / "data.yaml").write_text("just text")
    with pytest.raises(DataError, match=r"data\.yaml: it is not a description"):
        read_domain(**arguments(root))
    (folder / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"names no classes\. The yolo reader expects"):
        read_domain(**arguments(root))
    (folder / "data.yaml").write_text(text)
    shutil.rmtree(folder / "labels")
    (folder / "labels.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"labels/train' .* is missing\. There is an archive in .*: unpack 'labels\.zip'"):
        read_domain(**arguments(root))


def test_yolo_path_leaves_domain(root):
    (root / "coco8" / "data.yaml").write_text("train: ../../etc\nnames: [person, car, traffic light]\n")
    with pytest.raises(DataError, match=r"(leaves its root)|(is missing)"):
        read_domain(**arguments(root))


def test_yolo_unusual_files(root):
    folder = root / "coco8" / "images" / "train"
    picture(folder / "deep" / "Straße 1.PNG", 5)
    (root / "coco8" / "labels" / "train" / "deep").mkdir()
    (root / "coco8" / "labels" / "train" / "deep" / "Straße 1.txt").write_text(yolo_line(1, CAR))
    (folder / "deep" / "back").symlink_to(folder, target_is_directory=True)
    (folder / "._000.jpg").write_bytes(b"resource fork")
    manifest = read("yolo", root, "coco8", "train", YOLO_CLASSES)
    assert "train/deep/Straße 1" in manifest["image_id"].tolist()
    assert len(manifest) == 4
