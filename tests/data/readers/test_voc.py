import re
import shutil

import numpy as np
import pytest
from layouts import voc as voc_devkit
from PIL import Image
from streets_fixture import CLASSES, SOURCE, TARGETS, TRAIN_IDS, scene
from torchvision.datasets import VOCDetection, VOCSegmentation

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.instances import load_instances
from dg_project.data.manifest import validate_manifest
from dg_project.data.masks import load_mask
from dg_project.data.readers import read_domain

SPLITS = {"train": "train", "val": "val", "test": "test"}


def read(root, **changes):
    arguments = {"reader": "voc", "root": root, "domain": SOURCE, "role": "source", "splits": SPLITS,
                 "classes": CLASSES, **changes}
    return read_domain(**arguments)


@pytest.fixture
def voc(tiny_streets):
    return tiny_streets / SOURCE / "VOC2007"


def rewrite(voc, name, pattern, replacement):
    path = voc / "Annotations" / f"{name}.xml"
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1
    path.write_text(text, encoding="utf-8")


def test_voc_boxes_labels_masks(tiny_streets):
    manifest, skipped = read(tiny_streets)
    assert skipped == []
    assert manifest["split"].value_counts().to_dict() == {"train": 8, "val": 4, "test": 4}
    for seed, row in enumerate(manifest.itertuples()):
        _, _, objects = scene(seed)
        assert row.boxes == [list(map(float, box)) for _, box, _ in objects]
        assert row.labels == [CLASSES.index(name) + 1 for name, _, _ in objects]
        assert row.difficult == [flag for _, _, flag in objects]
        assert (tiny_streets / row.mask).is_file()
        assert row.role == "source"
    validate_manifest(manifest, CLASSES)


def test_voc_test_layouts_shared(tiny_manifest):
    rows = tiny_manifest[tiny_manifest["split"] == "test"]
    assert set(rows["domain"]) == {SOURCE, *TARGETS}
    for _, same in rows.groupby("image_id"):
        assert len(same) == 5
        assert len({str(boxes) for boxes in same["boxes"]}) == 1
        assert same["sha256"].nunique() == 5


def test_voc_order_and_limit(tiny_streets, voc):
    names = ["train_005", "train_001", "train_003"]
    (voc / "ImageSets/Main/train.txt").write_text("".join(f"{name}  1\n" for name in names) + "\n")
    manifest, _ = read(tiny_streets, splits={"train": "train"})
    assert manifest["image_id"].tolist() == names
    manifest, _ = read(tiny_streets, splits={"train": "train", "val": "val"}, limits={"train": 2})
    assert manifest["split"].value_counts().to_dict() == {"train": 2, "val": 4}


def test_voc_image_without_objects(tiny_streets, voc):
    rewrite(voc, "val_001", r"(?s)<object>.*</object>", "")
    manifest, _ = read(tiny_streets)
    assert manifest.set_index("image_id").loc["val_001", "boxes"] == []


def test_voc_mask_optional(tiny_streets, voc):
    shutil.rmtree(voc / "SegmentationClass")
    assert set(read(tiny_streets)[0]["mask"]) == {""}


def test_voc_opens_only_its_split(tiny_streets, voc):
    (voc / "JPEGImages/test_000.jpg").write_bytes(b"broken")
    read(tiny_streets, splits={"train": "train"})


def truncate(voc):
    path = voc / "JPEGImages/train_002.jpg"
    path.write_bytes(path.read_bytes()[:-400])


BREAKS = {
    "truncated": (truncate, r"train_002\.jpg: it is truncated"),
    "text instead of an image": (lambda voc: (voc / "JPEGImages/train_002.jpg").write_text("hello"),
                                 r"train_002\.jpg: it is truncated or no image"),
    "missing image": (lambda voc: (voc / "JPEGImages/train_002.jpg").unlink(),
                      r"train_002\.xml: it names the image 'train_002\.jpg', which is not in"),
    "other image named": (lambda voc: rewrite(voc, "train_002", "<filename>train_002", "<filename>elsewhere"),
                          r"train_002\.xml: it names the image 'elsewhere\.jpg'"),
    "missing annotation": (lambda voc: (voc / "Annotations/train_002.xml").unlink(),
                           r"annotation '.*train_002\.xml' is missing"),
    "broken XML": (lambda voc: rewrite(voc, "train_002", "</annotation>", ""), r"train_002\.xml: it is not well-formed"),
    "size of another image": (lambda voc: rewrite(voc, "train_002", "<width>96<", "<width>100<"),
                              r"states the size \(100, 64\).*96x64"),
    "box outside": (lambda voc: rewrite(voc, "train_002", r"<xmax>\d+", "<xmax>97"),
                    r"train_002\.xml.*outside the 96x64"),
    "negative box": (lambda voc: rewrite(voc, "train_002", r"<xmin>\d+", "<xmin>-3"), r"outside the 96x64"),
    "inverted box": (lambda voc: rewrite(voc, "train_002", r"<ymax>\d+", "<ymax>1"), r"inverted or empty"),
    "NaN box": (lambda voc: rewrite(voc, "train_002", r"<xmin>\d+", "<xmin>nan"), r"not finite"),
    "box that is no number": (lambda voc: rewrite(voc, "train_002", r"<xmin>\d+", "<xmin>left"), r"not finite"),
    "unknown class": (lambda voc: rewrite(voc, "train_002", r"<name>\w+", "<name>trcuk"),
                      r"train_002\.xml: unknown class 'trcuk'\. Did you mean 'truck'\?"),
}


@pytest.mark.parametrize(("break_it", "message"), BREAKS.values(), ids=BREAKS)
def test_voc_broken_sample(tiny_streets, voc, break_it, message):
    break_it(voc)
    with pytest.raises(DataError, match=message):
        read(tiny_streets)
    manifest, skipped = read(tiny_streets, on_bad_sample="skip")
    assert len(manifest) == 15
    assert "train_002" not in set(manifest["image_id"])
    assert len(skipped) == 1
    assert re.search(message, skipped[0])


def test_voc_zero_first_pixel(tiny_streets, voc):
    rewrite(voc, "train_002", r"<xmin>\d+", "<xmin>0")
    manifest, _ = read(tiny_streets)
    assert manifest.set_index("image_id").loc["train_002", "boxes"][0][0] == 0


def test_voc_all_samples_broken(tiny_streets, voc):
    for path in voc.glob("JPEGImages/val_*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match=r"every image of the split 'val'.*val_000"):
        read(tiny_streets, on_bad_sample="skip")


def test_voc_missing_paths(tiny_streets, voc):
    with pytest.raises(DataError, match=r"data root '.*nowhere' is missing; set data\.root"):
        read(tiny_streets / "nowhere")
    with pytest.raises(DataError, match=r"Did you mean 'daytime_clear'\?"):
        read(tiny_streets, domain="daytime_claer")
    with pytest.raises(DataError, match=r"trian\.txt' is missing\. Did you mean 'train'\?"):
        read(tiny_streets, splits={"train": "trian"})
    with pytest.raises(ParameterError, match=r"Did you mean 'voc'\?"):
        read(tiny_streets, reader="vok")
    (voc / "ImageSets/Main/val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"split 'val' of the domain 'daytime_clear' is empty"):
        read(tiny_streets)
    shutil.rmtree(voc / "JPEGImages")
    with pytest.raises(DataError, match=r"JPEGImages' is missing"):
        read(tiny_streets)


def test_voc_image_in_two_splits(tiny_streets, voc):
    (voc / "ImageSets/Main/val.txt").write_text("train_000\n")
    with pytest.raises(DataError, match=r"'train_000' comes twice"):
        read(tiny_streets)


def test_voc_split_list_leaves_root(tiny_streets, voc):
    (voc / "ImageSets/Main/val.txt").write_text("../../../../secret\n")
    with pytest.raises(DataError, match="leaves its root"):
        read(tiny_streets)


def test_voc_deterministic(tiny_streets):
    first, second = read(tiny_streets)[0], read(tiny_streets)[0]
    assert first.to_dict("records") == second.to_dict("records")
    assert np.all(first["sha256"].str.len() == 64)


def test_voc_equals_torchvision(tmp_path):
    root = voc_devkit(tmp_path)
    detection = VOCDetection(root, "2012", "train")
    segmentation = VOCSegmentation(root, "2012", "train")
    manifest, _ = read(root, domain="VOCdevkit", splits={"train": "train"}, classes=["person", "car"],
                       options={"year": "VOC2012", "mask_ids": "voc"})
    assert len(manifest) == len(detection) == len(segmentation) == 2
    for row, (image, target), (_, classes) in zip(manifest.itertuples(), detection, segmentation, strict=True):
        assert image.size == (row.width, row.height)
        expected = [[float(item["bndbox"][key]) - (key in ("xmin", "ymin")) for key in ("xmin", "ymin", "xmax", "ymax")]
                    for item in target["annotation"]["object"]]
        assert row.boxes == expected
        names = [["person", "car"][label - 1] for label in row.labels]
        assert names == [item["name"] for item in target["annotation"]["object"]]
        stored = np.asarray(classes)
        train_ids = np.full(256, 255)
        train_ids[[7, 15]] = [13, 11]
        assert np.array_equal(load_mask(root / row.mask, row.mask_ids, image.size), train_ids[stored])
        for mask, (x0, y0, x1, y1) in zip(load_instances(root, row), row.boxes, strict=True):
            ys, xs = mask.nonzero(as_tuple=True)
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x0, y0, x1, y1)


def test_voc_instance_order(tiny_streets):
    manifest, _ = read(tiny_streets)
    for seed, row in enumerate(manifest.itertuples()):
        _, mask, objects = scene(seed)
        assert row.instance_ids == [k + 1 for k in range(len(objects))]
        for found, (name, (x0, y0, x1, y1), _) in zip(load_instances(tiny_streets, row), objects, strict=True):
            assert found.sum() == (x1 - x0) * (y1 - y0)
            assert (mask[found.numpy()] == TRAIN_IDS[name]).all()


def test_voc_duplicate_stem(tiny_streets, voc):
    picture = voc / "JPEGImages/train_000.jpg"
    picture.with_suffix(".png").write_bytes(picture.read_bytes())
    with pytest.raises(DataError, match=r"'train_000\.jpg' and 'train_000\.png', so the image id 'train_000' comes"):
        read(tiny_streets, splits={"train": "train"})


def test_voc_difficult_without_pixel(tiny_streets, voc):
    rewrite(voc, "train_000", "<difficult>0", "<difficult>1")
    with Image.open(voc / "SegmentationObject/train_000.png") as image:
        values = np.asarray(image)
    Image.fromarray(np.where(values == 1, 0, values).astype(np.uint8)).save(voc / "SegmentationObject/train_000.png")
    manifest, _ = read(tiny_streets, splits={"train": "train"})
    assert manifest["difficult"].iloc[0][0]


def test_unicode_spaces_and_suffixes(tiny_streets, voc):
    names = ["Straße 1", "夜 -1", "a b"]
    for name, suffix, k in zip(names, (".JPG", ".png", ".jpeg"), range(3), strict=True):
        (voc / f"Annotations/train_00{k}.xml").rename(voc / f"Annotations/{name}.xml")
        rewrite(voc, name, "<filename>.*</filename>", f"<filename>{name}{suffix}</filename>")
        (voc / f"JPEGImages/train_00{k}.jpg").rename(voc / f"JPEGImages/{name}{suffix}")
    (voc / "ImageSets/Main/train.txt").write_text("Straße 1\n夜 -1  -1\na b  1\n", encoding="utf-8")
    manifest, _ = read(tiny_streets, splits={"train": "train"})
    assert manifest["image_id"].tolist() == names
