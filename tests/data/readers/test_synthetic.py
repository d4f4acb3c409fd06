"""GTA5, SYNTHIA and Mapillary: different ids, the same 19 classes."""

import numpy as np
import pytest
from layouts import CAR, HEIGHT, PERSON, WIDTH, gta5, ids, mapillary, scene, synthia
from reading import boxes, read, stops_and_skips
from PIL import Image

from dg_project.core.errors import DataError
from dg_project.data.instances import load_instances
from dg_project.data.masks import COLOURS, load_mask
from dg_project.data.readers import read_domain

CLASSES = ["person", "car"]


def arguments(reader, root, domain, split="all"):
    return {"reader": reader, "root": root, "domain": domain, "role": "source", "splits": {"train": split},
            "classes": CLASSES}


def test_gta5_official_splits(tmp_path):
    root = gta5(tmp_path)
    found = {split: read("gta5", root, "gta5", split, CLASSES)["image_id"].tolist()
             for split in ("train", "val", "test", "all")}
    assert found == {"train": ["00002", "00003", "00005"], "val": ["00001"], "test": ["00004", "00006"],
                     "all": [f"{k:05d}" for k in range(1, 7)]}
    with pytest.raises(DataError, match=r"split\.mat: it has no split 'training'"):
        read_domain(**arguments("gta5", root, "gta5", "training"))


def test_gta5_missing_image(tmp_path):
    root = gta5(tmp_path)
    (root / "gta5" / "images" / "00003.png").unlink()
    with pytest.raises(DataError, match=r"'train' has 1 images that are not in '.*images', such as 00003; unpack"):
        read_domain(**arguments("gta5", root, "gta5", "train"))


@pytest.mark.parametrize("kind", ["palette", "colours", "converted"])
def test_gta5_masks(tmp_path, kind):
    root = gta5(tmp_path)
    expected = scene(0, 10, {13: CAR, 11: PERSON, 255: (5, 18, 8, 20)})
    for path in (root / "gta5" / "labels").glob("*.png"):
        if kind == "colours":
            table = np.zeros((256, 3), np.uint8)
            table[:19] = COLOURS
            Image.fromarray(table[expected]).save(path)
        elif kind == "converted":
            ids(path.with_name(f"{path.stem}_labelTrainIds.png"), expected)
    for row in read("gta5", root, "gta5", "all", CLASSES).itertuples():
        assert row.mask_ids == ("train_ids" if kind == "converted" else "gta5")
        assert np.array_equal(load_mask(root / row.mask, row.mask_ids, (WIDTH, HEIGHT)), expected)


def test_gta5_mask_size(tmp_path):
    """The published set has some."""
    root = gta5(tmp_path)
    ids(root / "gta5" / "labels" / "00003.png", np.full((HEIGHT + 4, WIDTH), 7, np.uint8), palette=True)
    assert len(stops_and_skips(r"00003\.png: it is 40x28", **arguments("gta5", root, "gta5"))) == 5
    (root / "gta5" / "labels" / "00003.png").unlink()
    assert len(stops_and_skips(r"00003\.png' has no mask", **arguments("gta5", root, "gta5"))) == 5


def test_gta5_without_split_mat(tmp_path):
    root = gta5(tmp_path, split=False)
    with pytest.raises(DataError, match=r"train\.txt' is missing; put the authors' split\.mat into .*'all\[:90%\]'"):
        read_domain(**arguments("gta5", root, "gta5", "train"))
    (root / "gta5" / "train.txt").write_text("00004.png\n00002\n\n")
    assert read("gta5", root, "gta5", "train", CLASSES)["image_id"].tolist() == ["00004", "00002"]
    (root / "gta5" / "train.txt").write_text("00009.png\n")
    with pytest.raises(DataError, match=r"train\.txt: it lists '00009', which is not in"):
        read_domain(**arguments("gta5", root, "gta5", "train"))
    (root / "gta5" / "split.mat").write_text("no MATLAB")
    with pytest.raises(DataError, match=r"split\.mat: it is not a MATLAB file"):
        read_domain(**arguments("gta5", root, "gta5", "train"))


@pytest.mark.parametrize("channels", [2, 3])
def test_synthia_masks(tmp_path, channels):
    root = synthia(tmp_path, channels=channels)
    expected = scene(0, 10, {13: CAR, 11: PERSON, 255: (30, 20, 36, 22)})
    for row in read("synthia", root, "RAND_CITYSCAPES", "all", CLASSES).itertuples():
        assert row.mask_ids == "synthia"
        assert np.array_equal(load_mask(root / row.mask, row.mask_ids), expected)
        labels = root / "RAND_CITYSCAPES" / "GT" / "LABELS"
        ids(labels / f"{row.image_id}_labelTrainIds.png", expected)
    for row in read("synthia", root, "RAND_CITYSCAPES", "all", CLASSES).itertuples():
        assert row.mask_ids == "train_ids"
        assert np.array_equal(load_mask(root / row.mask, row.mask_ids), expected)


def test_synthia_shares_and_missing_mask(tmp_path):
    root = synthia(tmp_path)
    splits = {"train": "all[:60%]", "val": "all[60%:80%]", "test": "all[80%:]"}
    manifest, _ = read_domain("synthia", root, "RAND_CITYSCAPES", "source", splits, CLASSES)
    assert manifest["split"].value_counts().to_dict() == {"train": 3, "val": 1, "test": 1}
    (root / "RAND_CITYSCAPES" / "GT" / "LABELS" / "0000002.png").unlink()
    assert len(stops_and_skips(r"0000002\.png' has no mask", **arguments("synthia", root, "RAND_CITYSCAPES"))) == 4
    with pytest.raises(DataError, match=r"train\.txt' is missing; take shares of the split 'all'"):
        read_domain(**arguments("synthia", root, "RAND_CITYSCAPES", "train"))


@pytest.mark.parametrize("inner", [".", "v1.2"])
@pytest.mark.parametrize("split", ["val", "validation"])
def test_mapillary_masks_boxes_instances(tmp_path, inner, split):
    root = mapillary(tmp_path, inner=inner)
    manifest = read("mapillary", root, "mapillary", split, CLASSES)
    assert len(manifest) == 2
    for row in manifest.itertuples():
        assert np.array_equal(load_mask(root / row.mask, row.mask_ids, (WIDTH, HEIGHT)),
                              scene(0, 10, {13: CAR, 11: PERSON, 255: (0, 20, 3, 24)}))
        assert boxes(row, CLASSES) == [("person", tuple(map(float, PERSON)), False),
                                       ("car", tuple(map(float, CAR)), False)]
        with Image.open(root / row.instances) as image:
            values = np.asarray(image)
        person, car = load_instances(root, row)
        assert np.array_equal(person, values == 19 * 256 + 1)
        assert np.array_equal(car, values == 55 * 256)


def test_mapillary_other_version(tmp_path):
    root = mapillary(tmp_path, labels=124)
    with pytest.raises(DataError, match=r"config\.json: it has 124 labels, not the 66 of v1\.2"):
        read_domain(**arguments("mapillary", root, "mapillary", "train"))
    (root / "mapillary" / "config.json").unlink()
    with pytest.raises(DataError, match=r"has no config\.json"):
        read_domain(**arguments("mapillary", root, "mapillary", "train"))
    with pytest.raises(DataError, match=r"testing/images' is missing"):
        read_domain(**arguments("mapillary", root, "mapillary", "test"))


def test_mapillary_wrong_or_missing_mask(tmp_path):
    root = mapillary(tmp_path)
    mask = sorted((root / "mapillary" / "training" / "labels").glob("*.png"))[0]
    ids(mask, np.full((HEIGHT, WIDTH), 99, np.uint8), palette=True)
    assert len(stops_and_skips(r"the ids 99", **arguments("mapillary", root, "mapillary", "train"))) == 1
    mask.unlink()
    assert len(stops_and_skips(r"has no mask", **arguments("mapillary", root, "mapillary", "train"))) == 1
