import shutil

import numpy as np
import pytest
from layouts import CITY_OBJECTS, HEIGHT, WIDTH, acdc, cityscapes, ids, scene
from reading import boxes, read, stops_and_skips
from torchvision.datasets import Cityscapes

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.instances import load_instances
from dg_project.data.masks import load_mask
from dg_project.data.readers import read_domain

CLASSES = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
TRAIN_IDS = np.full(256, 255, np.uint8)
for entry in Cityscapes.classes:
    if 0 <= entry.train_id < 19:
        TRAIN_IDS[entry.id] = entry.train_id


def arguments(root, split="train", **changes):
    return {"reader": "cityscapes", "root": root, "domain": "cityscapes", "role": "source", "splits": {"train": split},
            "classes": CLASSES, **changes}


@pytest.mark.parametrize("train_ids", [False, True])
@pytest.mark.parametrize("split", ["train", "val"])
def test_cityscapes_equals_torchvision(tmp_path, split, train_ids):
    root = cityscapes(tmp_path, train_ids=train_ids)
    reference = Cityscapes(str(root / "cityscapes"), split, "fine", ["semantic", "instance"])
    manifest = read("cityscapes", root, "cityscapes", split, CLASSES).set_index("image")
    assert len(manifest) == len(reference) == (4 if split == "train" else 2)
    names = {entry.id: entry.name for entry in Cityscapes.classes if entry.has_instances}
    for index, path in enumerate(reference.images):
        image, (semantic, instance) = reference[index]
        row = manifest.loc[str(path).removeprefix(f"{root}/")]
        assert image.size == (row["width"], row["height"])
        mask = load_mask(root / row["mask"], row["mask_ids"], image.size)
        assert np.array_equal(mask, TRAIN_IDS[np.asarray(semantic)])
        values = np.asarray(instance)
        expected = [value for value in np.unique(values) if value >= 1000 or value in names]
        assert row["instance_ids"] == expected
        assert np.array_equal(load_instances(root, row), values == np.reshape(expected, (-1, 1, 1)))
        for value, (name, box, crowd) in zip(expected, boxes(row, CLASSES), strict=True):
            ys, xs = np.nonzero(values == value)
            assert box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == CITY_OBJECTS[value]
            assert name == names[value // 1000 if value >= 1000 else value]
            assert crowd == (value < 1000)


def test_cityscapes_polygons_only(tmp_path):
    root = cityscapes(tmp_path)
    whole = read("cityscapes", root, "cityscapes", "train", CLASSES)
    for path in root.rglob("*_instanceIds.png"):
        path.unlink()
    drawn = read("cityscapes", root, "cityscapes", "train", CLASSES)
    for one, other in zip(whole.itertuples(), drawn.itertuples(), strict=True):
        assert boxes(one, CLASSES) == boxes(other, CLASSES)
        assert other.instances == ""
        assert other.instance_ids == []


def test_foggy_cityscapes_beta(tmp_path):
    root = cityscapes(tmp_path, betas=("0.005", "0.01", "0.02"))
    clear = read("cityscapes", root, "cityscapes", "val", CLASSES)
    foggy = read("cityscapes", root, "foggy", "val", CLASSES, folder="cityscapes", options={"beta": 0.02})
    assert foggy["image"].str.endswith("_foggy_beta_0.02.png").all()
    assert set(foggy["domain"]) == {"foggy"}
    for column in ("image_id", "mask", "instances", "boxes"):
        assert foggy[column].tolist() == clear[column].tolist()
    with pytest.raises(DataError, match=r"fog densities 0\.005, 0\.01, 0\.02: set data\.options\.beta"):
        read_domain(**arguments(root, options={"beta": 0.03}))
    with pytest.raises(ParameterError, match=r"beta Input should be greater than 0"):
        read_domain(**arguments(root, options={"beta": -1}))


def truth(root, kind):
    return root / "cityscapes" / "gtFine" / "train" / "aachen" / f"aachen_000001_000019_gtFine_{kind}"


BREAKS = {
    "no ground truth": (lambda r: [path.unlink() for path in truth(r, "").parent.glob("aachen_000001*")],
                        r"aachen_000001_000019_leftImg8bit\.png' has no ground truth: .* Unpack gtFine_trainvaltest"),
    "mask of another size": (lambda r: ids(truth(r, "labelIds.png"), np.zeros((8, 8), np.uint8)),
                             r"labelIds\.png: it is 8x8, but its image is 40x24"),
    "16-bit mask": (lambda r: ids(truth(r, "labelIds.png"), scene(7, 23, {}, np.uint16)), r"stores 16 bits per pixel"),
    "ids beyond": (lambda r: ids(truth(r, "labelIds.png"), scene(7, 99, {})), r"labelIds\.png: it holds the ids 99"),
    "train ids that are label ids": (lambda r: ids(truth(r, "labelTrainIds.png"), scene(7, 23, {})),
                                     r"labelTrainIds\.png: it holds the ids 23"),
    "instances of another size": (lambda r: ids(truth(r, "instanceIds.png"), np.zeros((8, 8), np.uint16)),
                                  r"instanceIds\.png: it is 8x8"),
    "malformed polygons": (lambda r: (truth(r, "instanceIds.png").unlink(), truth(r, "polygons.json").write_text("{")),
                           r"polygons\.json: it is not well-formed JSON"),
    "polygons of another kind": (lambda r: (truth(r, "instanceIds.png").unlink(),
                                            truth(r, "polygons.json").write_text('{"objects": [1]}')),
                                 r"polygons\.json: it is not a Cityscapes annotation"),
}


@pytest.mark.parametrize(("break_it", "message"), BREAKS.values(), ids=BREAKS)
def test_broken_sample_stops_or_skips(tmp_path, break_it, message):
    root = cityscapes(tmp_path)
    break_it(root)
    assert len(stops_and_skips(message, **arguments(root))) == 3


def test_cityscapes_missing_parts(tmp_path):
    root = cityscapes(tmp_path)
    with pytest.raises(DataError, match=r"leftImg8bit/trian' is missing\. Did you mean 'train'\?"):
        read_domain(**arguments(root, "trian"))
    with pytest.raises(DataError, match=r"leftImg8bit_foggy/train' is missing"):
        read_domain(**arguments(root, options={"beta": 0.02}))
    shutil.rmtree(root / "cityscapes" / "gtFine")
    with pytest.raises(DataError, match=r"gtFine/train' is missing\..* Unpack gtFine_trainvaltest\.zip"):
        read_domain(**arguments(root))
    shutil.rmtree(root / "cityscapes" / "leftImg8bit")
    (root / "cityscapes" / "leftImg8bit_trainvaltest.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"There is an archive in '.*cityscapes': unpack 'leftImg8bit_trainvaltest\.zip'"):
        read_domain(**arguments(root))


def test_cityscapes_other_classes(tmp_path, caplog):
    root = cityscapes(tmp_path)
    with pytest.raises(DataError, match=r"instanceIds\.png: unknown class 'person'.*data\.other_classes: ignore"):
        read_domain(**arguments(root, classes=["car"]))
    with caplog.at_level("INFO"):
        manifest, _ = read_domain(**arguments(root, classes=["car"]), other_classes="ignore")
    assert "cityscapes/train: boxes skipped (data.other_classes: ignore): 8 person" in caplog.text
    assert manifest["instance_ids"].tolist() == [[26000, 26001]] * 4


@pytest.mark.parametrize("condition", ["fog", "night", "rain", "snow"])
def test_acdc_conditions(tmp_path, condition):
    root = acdc(tmp_path)
    manifest = read("acdc", root, f"acdc_{condition}", "val", CLASSES, folder="acdc", options={"condition": condition})
    assert len(manifest) == 2
    assert manifest["image"].str.contains(f"/rgb_anon/{condition}/val/").all()
    everything = read("acdc", root, "acdc", "val", CLASSES)
    assert len(everything) == 8
    reference = {row.image: load_mask(root / row.mask, row.mask_ids) for row in everything.itertuples()}
    for path in root.rglob("*_labelTrainIds.png"):
        path.unlink()
    for row in read("acdc", root, "acdc", "val", CLASSES).itertuples():
        assert row.mask_ids == "cityscapes_ids"
        assert np.array_equal(load_mask(root / row.mask, row.mask_ids, (WIDTH, HEIGHT)), reference[row.image])


def test_acdc_without_ground_truth(tmp_path):
    root = acdc(tmp_path)
    for path in root.rglob("GOPR0001_frame_000001_gt_*"):
        path.unlink()
    left = stops_and_skips(r"GOPR0001_frame_000001_rgb_anon\.png' has no ground truth", reader="acdc", root=root,
                           domain="acdc", role="source", splits={"train": "train"}, classes=CLASSES)
    assert len(left) == 7
    with pytest.raises(ParameterError, match="condition Input should be 'fog', 'night', 'rain' or 'snow'"):
        read_domain("acdc", root, "acdc", "source", {"train": "train"}, CLASSES, options={"condition": "foggy"})
    with pytest.raises(DataError, match=r"rgb_anon/fog/test' is missing"):
        read_domain("acdc", root, "acdc", "source", {"train": "test"}, CLASSES)
