"""n of a sorted list are spread over folders and classes; lists of one folder keep their order."""

from __future__ import annotations

import pandas as pd
import pytest
from layouts import coco, image_folder, voc
from reading import read

from dg_project.data.drawing import spread, spread_rows, varied_rows
from dg_project.evaluation.predictions import scored_rows
from dg_project.pseudo.synthesis import eligible

CLASSES = ["dog", "elephant", "giraffe"]


def labels(rows: pd.DataFrame) -> list[int]:
    return [row[0] for row in rows["labels"]]


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 100])
def test_spread_over_folders(n):
    groups = ["a"] * 10 + ["b"] * 10 + ["c"] * 2
    chosen = spread([f"{group}/{k}" for k, group in enumerate(groups)], groups, n)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n, 22)
    counts = [sum(groups[k] == group for k in chosen) for group in "ab"]
    assert abs(counts[0] - counts[1]) <= 1
    assert spread(["x"] * 5, ["a"] * 5, n) == list(range(min(n, 5)))


def test_max_train_of_image_folders(tmp_path):
    root = image_folder(tmp_path)
    arguments = {"reader": "image_folder", "root": root, "domain": "photo", "classes": CLASSES, "split": "all"}
    rows = read(**arguments, limits={"train": 6})
    assert labels(rows) == [1, 1, 2, 2, 3, 3]
    assert read(**arguments, limits={"train": 6})["image_id"].tolist() == rows["image_id"].tolist()


def test_max_train_of_a_list_sorted_by_class(tmp_path):
    names = tuple(f"{name}_{k:03d}" for name in ("bus", "car") for k in range(10))
    folder = voc(tmp_path, names=names) / "VOCdevkit" / "VOC2012"
    for path in (folder / "Annotations").iterdir():
        other = "person" if path.name.startswith("bus") else "car"
        path.write_text(path.read_text().replace("person", other).replace("<name>car", f"<name>{other}"))
    rows = read("voc", tmp_path, "VOCdevkit", "train", ["car", "person"], options={"year": "VOC2012"},
                limits={"train": 6})
    assert len(rows) == 6
    assert set(labels(rows)) == {1, 2}


def test_first_n_of_a_street_list(tmp_path):
    rows = read("coco", coco(tmp_path), "coco", "train2017", ["person", "car", "traffic light"], limits={"train": 2})
    assert rows["image_id"].tolist() == ["train2017/000000000000", "train2017/000000000001"]


def test_max_images_and_n_images(tmp_path):
    root = image_folder(tmp_path)
    source = read("image_folder", root, "photo", "all", CLASSES).assign(split="test")
    target = read("image_folder", root, "art_painting", "all", CLASSES).assign(split="test")
    scored = scored_rows(source, target, 5)
    for _, own in scored.groupby("domain", sort=False):
        counts = [labels(own).count(label) for label in set(labels(own))]
        assert max(counts) - min(counts) <= 1
        assert len(counts) == (3 if own["domain"].iloc[0] == "photo" else 2)
    assert len(scored) == 10
    assert set(labels(eligible(source, 1, None, 3))) == {1, 2, 3}


def test_one_folder_sorted_by_class(tmp_path):
    rows = read("image_folder", image_folder(tmp_path), "photo", "all", CLASSES)
    rows = rows.assign(image=[f"photo/{k:03d}.jpg" for k in range(len(rows))])
    assert set(labels(spread_rows(rows, 6))) == {1, 2, 3}
    mixed = rows.assign(labels=[[1, 2, 3]] * len(rows))
    assert spread_rows(mixed, 6)["image_id"].tolist() == rows["image_id"].tolist()[:6]
    assert spread_rows(rows, None)["image_id"].tolist() == rows["image_id"].tolist()


def test_varied_rows_show_many_classes() -> None:
    rows = pd.DataFrame({"image_id": [f"{k:02d}" for k in range(20)]})
    shown = [{1}] * 17 + [{2, 3}, {4}, set()]
    chosen = varied_rows(rows, shown, 3)
    assert {"17", "18"} < set(chosen["image_id"])
    assert varied_rows(rows, shown, 3).equals(chosen)
    assert len(varied_rows(rows, shown, 99)) == 20
    assert "19" not in set(varied_rows(rows, shown, 19)["image_id"]), "an image without labels comes last"
