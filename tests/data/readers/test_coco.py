import json

import numpy as np
import pytest
from layouts import CAR, PERSON, coco, picture
from reading import boxes, read, stops_and_skips
from pycocotools.coco import COCO
from torchvision.datasets import CocoDetection

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.instances import load_instances
from dg_project.data.readers import read_domain

CLASSES = ["car", "person"]


@pytest.fixture
def root(tmp_path):
    return coco(tmp_path)


def edit(root, change, split="train2017"):
    path = root / "coco" / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def arguments(root):
    return {"reader": "coco", "root": root, "domain": "coco", "role": "source", "splits": {"train": "train2017"},
            "classes": CLASSES}


def test_coco_equals_pycocotools(root):
    manifest = read("coco", root, "coco", "train2017", CLASSES)
    folder, path = root / "coco" / "train2017", root / "coco" / "annotations" / "instances_train2017.json"
    reference, api = CocoDetection(folder, path), COCO(path)
    assert len(manifest) == len(reference) == 3
    for row, number in zip(manifest.itertuples(), reference.ids, strict=True):
        annotations = api.loadAnns(api.getAnnIds(number))
        names = {item["id"]: item["name"] for item in api.loadCats(api.getCatIds())}
        expected = [(names[item["category_id"]],
                     (item["bbox"][0], item["bbox"][1], item["bbox"][0] + item["bbox"][2],
                      item["bbox"][1] + item["bbox"][3]), bool(item["iscrowd"])) for item in annotations]
        assert boxes(row, CLASSES) == expected
        assert row.image == f"coco/train2017/{api.loadImgs(number)[0]['file_name']}"
        assert row.image_id == row.image.removeprefix("coco/").removesuffix(".jpg")
        assert bool(row.instances) == bool(annotations)
        if annotations:
            masks = load_instances(root, row)
            assert np.array_equal(masks, np.stack([api.annToMask(item) for item in annotations]).astype(bool))


def test_coco_masks_of_kept_boxes(root):
    manifest = read("coco", root, "coco", "train2017", ["person"], other_classes="ignore")
    row = next(manifest.itertuples())
    assert boxes(row, ["person"])[0] == ("person", tuple(map(float, PERSON)), False)
    masks = load_instances(root, row)
    assert len(masks) == 2
    assert masks[0].nonzero().amin(0).tolist() == [PERSON[1], PERSON[0]]


def test_coco_repeated_file_names(root):
    for name in ("000000000100.jpg", "000000000101.jpg", "000000000102.jpg"):
        path = root / "coco" / "val2017" / name
        path.rename(path.with_name(f"0000000000{int(name[9:12]) - 100:02d}.jpg"))
    edit(root, lambda c: [i.update(file_name=f"0000000000{k:02d}.jpg") for k, i in enumerate(c["images"])], "val2017")
    splits = {"train": "train2017", "val": "val2017"}
    manifest, _ = read_domain("coco", root, "coco", "source", splits, CLASSES)
    assert manifest["image_id"].is_unique
    assert len(manifest) == 6


def test_coco_folder_options(root):
    """Roboflow stores the annotation next to the images."""
    (root / "coco" / "annotations" / "instances_train2017.json").rename(
        root / "coco" / "train2017" / "_annotations.coco.json")
    options = {"annotations": "{split}/_annotations.coco.json", "images": "{split}"}
    assert len(read("coco", root, "coco", "train2017", CLASSES, options=options)) == 3


def test_coco_without_segmentations(root):
    edit(root, lambda c: [item.update(segmentation=[]) for item in c["annotations"]])
    manifest = read("coco", root, "coco", "train2017", CLASSES)
    assert set(manifest["instances"]) == {""}
    assert len(manifest.loc[0, "boxes"]) == 3


def test_coco_shared_annotation_ids(root):
    edit(root, lambda c: [item.update(id=1) for item in c["annotations"]])
    assert set(read("coco", root, "coco", "train2017", CLASSES)["instances"]) == {""}


BREAKS = {
    "category": (lambda c: c["annotations"][0].update(category_id=99),
                 r"instances_train2017\.json: the annotation 1 has the category 99, .* categories are \[1, 3, 10\]"),
    "zero area": (lambda c: c["annotations"][0].update(bbox=[4, 4, 0, 5]), r"instances_train2017\.json.*or empty"),
    "outside": (lambda c: c["annotations"][0].update(bbox=[4, 4, 60, 5]), r"outside the 40x24 image"),
    "three numbers": (lambda c: c["annotations"][0].update(bbox=[4, 4, 6]),
                      r"instances_train2017\.json: it is not a COCO annotation at the image 'train2017/0{12}\.jpg'"),
    "NaN": (lambda c: c["annotations"][0].update(bbox=[4, 4, float("nan"), 2]), r"is not finite"),
    "size": (lambda c: c["images"][0].update(width=41), r"it states the size \(41, 24\), but .* is 40x24"),
    "missing image": (lambda c: c["images"][0].update(file_name="gone.jpg"), r"gone\.jpg' of '.*' is missing"),
    "size of a mask": (lambda c: c["annotations"][0].update(segmentation={"size": 5, "counts": [1]}),
                       r"it is not a COCO annotation at the image"),
    "zero byte": (lambda c: c["images"][0].update(file_name="a\0.jpg"), r"cannot be resolved"),
    "leaving": (lambda c: c["images"][0].update(file_name="../../../x.jpg"), r"leaves its root"),
    "twice": (lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"]),
              r"the image id 'train2017/000000000000' comes twice"),
}


@pytest.mark.parametrize(("change", "message"), BREAKS.values(), ids=BREAKS)
def test_broken_sample_stops_or_skips(root, change, message):
    edit(root, change)
    assert len(stops_and_skips(message, **arguments(root))) == 2


def test_coco_duplicate_image_id(root):
    edit(root, lambda c: c["images"][2].update(id=c["images"][0]["id"]))
    with pytest.raises(DataError, match=r"'train2017/0{12}\.jpg' shares its id 7 with another image"):
        read_domain(**arguments(root))
    manifest, skipped = read_domain(**arguments(root), on_bad_sample="skip")
    assert (len(manifest), len(skipped)) == (1, 2)


def test_coco_wrong_files(root):
    path = root / "coco" / "annotations" / "instances_train2017.json"
    with pytest.raises(DataError, match=r"instances_train\.json' is missing; there are 'instances_train2017\.json', "):
        read_domain(**{**arguments(root), "splits": {"train": "train"}}, options={"images": "."})
    with pytest.raises(DataError, match=r"folder '.*annotation' is missing\. Did you mean 'annotations'\?"):
        read_domain(**arguments(root), options={"annotations": "annotation/{split}.json"})
    with pytest.raises(ParameterError, match=r"'coco': unknown parameter|.*Did you mean 'annotations'\?"):
        read_domain(**arguments(root), options={"annotation": "x"})
    path.write_text(path.read_text()[:-30])
    with pytest.raises(DataError, match=r"instances_train2017\.json: it is not well-formed JSON"):
        read_domain(**arguments(root))
    path.write_text('{"images": []}')
    with pytest.raises(DataError, match=r"it is not a COCO annotation with images, annotations and categories"):
        read_domain(**arguments(root))


def test_coco_unknown_classes(root):
    with pytest.raises(DataError, match=r"the classes 'person', 'car' are not in .*All .*: \[person, car\]"):
        read("coco", root, "coco", "train2017", ["bus"])
    names = {"car": "vehicle", "person": "human"}
    manifest = read("coco", root, "coco", "train2017", ["vehicle", "human"], rename=names)
    assert manifest.loc[0, "labels"] == [1, 2, 2]


def test_coco_rounding_over_border(root):
    edit(root, lambda c: c["annotations"][0].update(bbox=[-0.3, 2, 40.6, 22.4]))
    manifest = read("coco", root, "coco", "train2017", CLASSES)
    assert manifest.loc[0, "boxes"][0] == [0, 2, 40, 24]


def test_unicode_spaces_and_suffixes(root):
    names = ["Straße 1.JPEG", "夜.png", "a b.jpg"]
    for k, name in enumerate(names):
        picture(root / "coco" / "train2017" / name, k)
    edit(root, lambda c: [item.update(file_name=name) for item, name in zip(c["images"], names, strict=True)])
    manifest = read("coco", root, "coco", "train2017", CLASSES)
    assert manifest["image_id"].tolist() == ["train2017/Straße 1", "train2017/夜", "train2017/a b"]
    assert boxes(manifest.iloc[0], CLASSES)[0][1][0] == CAR[0]
