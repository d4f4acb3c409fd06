import json
import shutil

import numpy as np
import pytest
from layouts import CAR, PERSON, bdd100k, ids, scene
from reading import boxes, read, stops_and_skips

from dg_project.core.errors import DataError, ParameterError
from dg_project.data.masks import load_mask
from dg_project.data.readers import read_domain

NAMES = {"det_20": ["car", "pedestrian"], "det_2018": ["car", "person"]}


@pytest.fixture
def root(tmp_path):
    return bdd100k(tmp_path)


def arguments(root, labels="det_20", **options):
    return {"reader": "bdd100k", "root": root, "domain": "bdd100k", "role": "source", "splits": {"train": "train"},
            "classes": NAMES.get(labels, ["car"]), "options": {"labels": labels, **options}}


def edit(root, path, change):
    path = root / "bdd100k" / "labels" / path
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(("labels", "single"), [("det_20", False), ("det_2018", False), ("det_2018", True)])
def test_bdd100k_boxes(root, labels, single):
    folder = root / "bdd100k" / "labels" / "100k"
    folder.rename(folder.with_name("100k" if single else "elsewhere"))
    manifest = read("bdd100k", root, "bdd100k", "train", NAMES[labels], options={"labels": labels})
    assert manifest["image_id"].tolist() == [f"{k:08x}-train" for k in range(4)]
    expected = [(NAMES[labels][0], tuple(map(float, CAR)), False), (NAMES[labels][1], tuple(map(float, PERSON)), False)]
    for row in list(manifest.itertuples())[:3]:
        assert boxes(row, NAMES[labels]) == expected
    assert manifest.loc[3, "boxes"] == []  # a frame without labels
    assert set(manifest["mask"]) == {""}


@pytest.mark.parametrize(("labels", "single"), [("det_20", False), ("det_2018", False), ("det_2018", True),
                                                ("sem_seg", False)])
@pytest.mark.parametrize(("options", "found"), [
    ({"weather": ["clear"]}, [0, 3]), ({"weather": ["rainy", "foggy"]}, [1, 2]),
    ({"weather": ["clear"], "timeofday": ["night"]}, [3]), ({"scene": ["highway"]}, [0, 1, 2, 3])])
def test_bdd100k_weather_and_time(root, labels, single, options, found):
    folder = root / "bdd100k" / "labels" / "100k"
    folder.rename(folder.with_name("100k" if single else "elsewhere"))
    manifest = read("bdd100k", root, "night", "val", NAMES.get(labels, ["car"]), folder="bdd100k",
                    options={"labels": labels, **options})
    assert manifest["image_id"].tolist() == [f"{k:08x}-val" for k in found]


def test_bdd100k_unknown_attributes(root):
    with pytest.raises(DataError, match=r"no image has \{'weather': \['snowy'\]\}; the data set has .*\{'clear': 2"):
        read_domain(**arguments(root, weather=["snowy"]))
    with pytest.raises(ParameterError, match=r"weather\.0 Input should be 'clear', 'partly cloudy'"):
        read_domain(**arguments(root, weather=["sunny"]))
    with pytest.raises(ParameterError, match=r"unknown parameter 'time_of_day'\. Did you mean 'timeofday'\?"):
        read_domain(**arguments(root, time_of_day=["night"]))


def test_bdd100k_masks(root):
    manifest = read("bdd100k", root, "bdd100k", "val", ["car"], options={"labels": "sem_seg"})
    assert manifest["image"].str.startswith("bdd100k/images/10k/val/").all()
    for row in manifest.itertuples():
        assert np.array_equal(load_mask(root / row.mask, row.mask_ids),
                              scene(0, 10, {13: CAR, 11: PERSON, 255: (0, 20, 3, 24)}))


@pytest.mark.parametrize(("labels", "kind"), [("sem_seg", "10k"), ("det_20", "100k"), ("det_2018", "100k")])
def test_bdd100k_unlabelled_ids(root, labels, kind):
    labelled, _ = read_domain(**arguments(root, labels))
    shutil.rmtree(root / "bdd100k" / "labels")
    ids(root / "bdd100k" / "images" / kind / "train" / "zz.png", scene(0, 0, {}))  # has no label
    found, _ = read_domain(**{**arguments(root, labels), "role": "adapt"})
    assert found["image_id"].tolist() == [*labelled["image_id"], "zz"]
    assert found["image"].str.startswith(f"bdd100k/images/{kind}/train/").all()
    assert not any(found["mask"])


def test_bdd100k_unlabelled_attributes(root):
    with pytest.raises(DataError, match=r"weather, timeofday of an image .* must not open; take them out of"):
        read_domain(**{**arguments(root, weather=["clear"], timeofday=["night"]), "role": "adapt"})


BREAKS = {
    "class": ("det_20", "det_20/det_train.json", lambda c: c[1]["labels"][0].update(category="trailer"),
              r"det_train\.json: unknown class 'trailer'"),
    "zero area": ("det_20", "det_20/det_train.json",
                  lambda c: c[1]["labels"][0].update(box2d={"x1": 3, "y1": 3, "x2": 2, "y2": 9}), r"inverted or empty"),
    "no x2": ("det_20", "det_20/det_train.json", lambda c: c[1]["labels"][0]["box2d"].pop("x2"),
              r"det_train\.json: it is not a BDD100K annotation at the image '00000001-train\.jpg' \(KeyError: 'x2'\)"),
    "missing image": ("det_20", "det_20/det_train.json", lambda c: c[1].update(name="gone.jpg"), r"gone\.jpg' is missing"),
    "frames": ("det_2018", "100k/train/00000001-train.json", lambda c: c.update(frames=[]),
               r"00000001-train\.json: it is not a BDD100K annotation"),
}


@pytest.mark.parametrize(("labels", "path", "change", "message"), BREAKS.values(), ids=BREAKS)
def test_broken_sample_stops_or_skips(root, labels, path, change, message):
    edit(root, path, change)
    assert len(stops_and_skips(message, **arguments(root, labels))) == 3


def test_bdd100k_malformed_file(root):
    (root / "bdd100k" / "labels" / "100k" / "train" / "00000000-train.json").write_text("{")
    message = r"00000000-train\.json: it is not well-formed JSON"
    assert len(stops_and_skips(message, **arguments(root, "det_2018"))) == 3
    assert len(stops_and_skips(message, **arguments(root, "det_2018", weather=["clear"]))) == 1


def test_bdd100k_wrong_or_missing_mask(root):
    masks = root / "bdd100k" / "labels" / "sem_seg" / "masks" / "train"
    ids(masks / "00000002-train.png", scene(7, 23, {}))
    message = r"00000002-train\.png: it holds the ids 23, which 'train_ids' does not know"
    assert len(stops_and_skips(message, **arguments(root, "sem_seg"))) == 3
    (masks / "00000002-train.png").unlink()
    assert len(stops_and_skips(r"has no mask", **arguments(root, "sem_seg"))) == 3


def test_bdd100k_missing_parts(root):
    (root / "bdd100k" / "labels" / "det_20" / "det_train.json").write_text("[{}]")
    with pytest.raises(DataError, match=r"det_train\.json: it is not a list of BDD100K frames"):
        read_domain(**arguments(root))
    (root / "bdd100k" / "labels" / "det_20" / "det_train.json").unlink()
    with pytest.raises(DataError, match=r"det_train\.json' is missing; unpack the labels, or choose others"):
        read_domain(**arguments(root))
    with pytest.raises(DataError, match=r"images/100k/training' is missing\. Did you mean 'train'\?"):
        read_domain(**{**arguments(root), "splits": {"train": "training"}})
