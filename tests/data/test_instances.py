"""Instance masks in the order of the boxes, from index maps and COCO files (reference: pycocotools)."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from layouts import CAR, HEIGHT, PERSON, WIDTH, ids, picture, scene, write_json
from pycocotools import mask as coco_mask

from dg_project.core.errors import DataError
from dg_project.data.instances import load_instances, unpack_counts


def row(instances: str, instance_ids: list[int]) -> SimpleNamespace:
    return SimpleNamespace(image="a.png", instances=instances, instance_ids=instance_ids, width=WIDTH, height=HEIGHT,
                           difficult=[False] * len(instance_ids))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_index_map_order(tmp_path, dtype):
    high = 200 if dtype == np.uint8 else 24001
    values = scene(0, 0, {3: CAR, high: PERSON, 4: (0, 0, 2, 2)}, dtype)
    ids(tmp_path / "i.png", values)
    masks = load_instances(tmp_path, row("i.png", [high, 3]))
    assert masks.dtype == torch.bool
    assert masks.shape == (2, HEIGHT, WIDTH)
    assert np.array_equal(masks[0], values == high)
    assert np.array_equal(masks[1], values == 3)
    assert load_instances(tmp_path, row("i.png", [])).shape == (0, HEIGHT, WIDTH)


def test_wrong_instances(tmp_path):
    ids(tmp_path / "i.png", scene(0, 0, {1: CAR}))
    ids(tmp_path / "small.png", np.zeros((4, 4), np.uint8))
    picture(tmp_path / "photo.png")
    write_json(tmp_path / "a.json", {"annotations": [{"id": 1, "segmentation": [[1, 2]]},
                                                     {"id": 2, "segmentation": {"size": [3, 3], "counts": [9]}}]})
    write_json(tmp_path / "b.json", {"images": []})
    cases = {
        "no instance masks": row("", [1]), r"i\.png: no pixel has the value 2": row("i.png", [1, 2]),
        "no pixel has the value 70000": row("i.png", [70000]), "it is 4x4": row("small.png", [1]),
        "it is a colour image": row("photo.png", [1]), "leaves its root": row("../i.png", [1]),
        "no longer has the annotation 5": row("a.json", [5]), "neither polygons nor": row("a.json", [1]),
        "run lengths of a 40x24 image": row("a.json", [2]),
        r"b\.json: it is no longer a COCO file": row("b.json", [1]),
    }
    for message, case in cases.items():
        with pytest.raises(DataError, match=message):
            load_instances(tmp_path, case)


def test_rasterise_equals_pycocotools(tmp_path):
    triangle = [[3.5, 2.0, 30.0, 4.5, 12.25, 20.0]]
    coded = coco_mask.merge(coco_mask.frPyObjects(triangle, HEIGHT, WIDTH))
    compressed = {"size": [HEIGHT, WIDTH], "counts": coded["counts"].decode()}
    write_json(tmp_path / "a.json", {"annotations": [{"id": 8, "segmentation": triangle},
                                                     {"id": 9, "segmentation": compressed}]})
    polygon, runs = load_instances(tmp_path, row("a.json", [8, 9]))
    assert torch.equal(polygon, runs)
    assert np.array_equal(polygon, coco_mask.decode(coded).astype(bool))
    assert load_instances(tmp_path, row("a.json", [])).shape == (0, HEIGHT, WIDTH)


def test_label_file_outside_root(tmp_path: Path):
    with pytest.raises(DataError, match="leaves its root"):
        load_instances(tmp_path / "root", row("../x.json", [1]))


@pytest.mark.parametrize("segmentation", [
    [[1, 2, 3, 4, 5, None]], [[1, 2, 3, 4, 5, float("nan")]], [[1, 2, 3, 4, 5, 1e12]], [[1, 2, 3, 4]],
    [[1, 2, 3, 4, 5]], [["a", "b", 3, 4, 5, 6]], "polygons", 7,
    {"size": [HEIGHT, WIDTH], "counts": [5, -5, HEIGHT * WIDTH]},
    {"size": [HEIGHT, WIDTH], "counts": [5, 5]}, {"size": [HEIGHT, WIDTH]},
    {"size": [HEIGHT, WIDTH], "counts": "zzzzzzzz"},
    {"size": [HEIGHT, WIDTH], "counts": "a"}, {"size": [HEIGHT, WIDTH], "counts": "Å"},
    {"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(np.ones((99, 99), np.uint8, "F"))["counts"].decode()}])
def test_crashing_segmentations_are_errors(tmp_path, segmentation):
    write_json(tmp_path / "a.json", {"annotations": [{"id": 1, "segmentation": segmentation}]})
    with pytest.raises(DataError, match=r"a\.json: .*40x24 image"):
        load_instances(tmp_path, row("a.json", [1]))


def test_degenerate_polygons_skipped(tmp_path):
    triangle = [3, 2, 30, 4, 12, 20]
    write_json(tmp_path / "a.json", {"annotations": [{"id": 1, "segmentation": [[1, 1, 2, 2], triangle]},
                                                     {"id": 2, "segmentation": [triangle]}]})
    assert torch.equal(*load_instances(tmp_path, row("a.json", [1, 2])))


def test_unpack_counts_equals_pycocotools():
    random = np.random.default_rng(0)
    for share in np.linspace(0, 1, 60):
        mask = np.asfortranarray(random.random((HEIGHT, WIDTH)) < share, np.uint8)
        runs = unpack_counts(coco_mask.encode(mask)["counts"].decode())
        assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.ravel("F"))


def test_difficult_object_without_pixel(tmp_path):
    """Pascal VOC paints some of them as void."""
    ids(tmp_path / "i.png", scene(0, 0, {1: CAR}))
    known = row("i.png", [1, 2])
    known.difficult = [False, True]
    assert load_instances(tmp_path, known)[1].sum() == 0
