"""Artifacts that do not belong together are told: classes, files and origins."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from run_settings import settings
from streets_fixture import CLASSES

from dg_project.core.errors import DataError
from dg_project.data.dataset import ManifestDataset, load_part, row_image
from dg_project.data.origin import check_classes, check_images, check_pairs, names_as_text
from dg_project.experiments.training_checks import check_data, check_learnable
from dg_project.experiments.training_data import TrainingData


def mirror(path):
    with Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


def test_classes_of_another_order(tiny_manifest):
    check_classes(tiny_manifest, CLASSES, "detection", "the model")
    with pytest.raises(DataError, match=rf"the model knows the classes \[{CLASSES[-1]}, .*ingested with \[{CLASSES[0]}"):
        check_classes(tiny_manifest, CLASSES[::-1], "detection", "the model")
    with pytest.raises(DataError, match="so its label numbers mean other classes"):
        check_classes(tiny_manifest, CLASSES[:-1], "classification", "the model")
    check_classes(tiny_manifest.drop(columns="classes"), CLASSES[::-1], "detection", "the model")  # written before


def test_classes_of_masks(tiny_manifest):
    rows = tiny_manifest.assign(mask_classes=names_as_text(["road", "car"]))
    check_classes(rows, ["road", "car"], "segmentation", "the model")
    check_classes(rows, CLASSES, "detection", "the model")
    with pytest.raises(DataError, match=r"set segmentation\.classes"):
        check_classes(rows, ["car", "road"], "segmentation", "the model")
    with pytest.raises(DataError, match=r"ingested with \[road, car\]"):
        check_classes(rows, ["road", "car", "sky"], "segmentation", "the model")


def test_image_that_was_replaced(tiny_manifest, tiny_streets):
    dataset = ManifestDataset(tiny_manifest, tiny_streets, cache=False)
    dataset[0]
    mirror(tiny_streets / tiny_manifest.loc[0, "image"])
    for opens in (lambda: dataset[0], lambda: row_image(tiny_streets, tiny_manifest.loc[0])):
        with pytest.raises(DataError, match=r"not the file that was ingested .* ingest again"):
            opens()
    dataset[1]


def test_touched_image_is_the_same(tiny_manifest, tiny_streets):
    os.utime(tiny_streets / tiny_manifest.loc[0, "image"], (1, 1))
    ManifestDataset(tiny_manifest, tiny_streets)[0]


@pytest.mark.parametrize("part", ["mask", "instances"])
def test_label_file_that_was_replaced(tiny_manifest, tiny_streets, part):
    row = next(tiny_manifest.itertuples())
    load_part(row, part, tiny_streets)
    path = tiny_streets / getattr(row, part)
    with Image.open(path) as image:
        values = np.array(image)
    Image.fromarray(np.roll(values, 9, 1)).save(path)
    with pytest.raises(DataError, match="the label files of .* are not those that were ingested"):
        load_part(row, part, tiny_streets)


def test_root_of_other_images(tiny_manifest, tiny_streets):
    check_images(tiny_manifest, tiny_streets)
    for path in tiny_streets.glob("*/VOC2007/JPEGImages/*.jpg"):
        mirror(path)
    with pytest.raises(DataError, match="not the file that was ingested"):
        check_images(tiny_manifest, tiny_streets)
    with pytest.raises(DataError, match=r"is missing .*correct data\.root"):
        check_images(tiny_manifest, tiny_streets / "elsewhere")


def test_pseudo_images_of_another_source(tiny_manifest, tiny_pseudo):
    pseudo, source = tiny_pseudo[1] if isinstance(tiny_pseudo, tuple) else tiny_pseudo, tiny_manifest
    check_pairs(pseudo, source)
    changed = source.copy()
    changed.at[0, "boxes"] = [[0.0, 0.0, 5.0, 5.0]] * len(changed.at[0, "boxes"])
    with pytest.raises(DataError, match="was made from an earlier"):
        check_pairs(pseudo, changed)
    with pytest.raises(DataError, match="was made from an earlier"):
        check_pairs(pseudo.assign(source_sha256=hashlib.sha256(b"another").hexdigest()), source)


def test_training_of_other_classes_or_files(tiny_manifest, tiny_streets):
    data = TrainingData(tiny_manifest, tiny_streets)
    chosen = settings(data__classes=CLASSES)
    check_data(data, chosen, "erm")
    with pytest.raises(DataError, match="the method 'erm'"):
        check_data(data, settings(data__classes=CLASSES[::-1]), "erm")
    mirror(tiny_streets / tiny_manifest.loc[0, "image"])
    with pytest.raises(DataError, match="ingest again"):
        check_data(data, chosen, "erm")


def test_nothing_to_learn(tiny_manifest):
    train = tiny_manifest[tiny_manifest["split"] == "train"]
    empty = train.assign(boxes=[[]] * len(train), labels=[[]] * len(train), difficult=[[]] * len(train))
    with pytest.raises(DataError, match="the split train of '.*' has nothing to learn: it has no object"):
        check_learnable(empty, settings())
    hard = train.assign(difficult=[[True] * len(row) for row in train["labels"]])
    with pytest.raises(DataError, match=r"all of its \d+ objects are difficult"):
        check_learnable(hard, settings(task="instance_segmentation"))
    ignored = train.assign(mask_pixels=[[] for _ in range(len(train))])
    with pytest.raises(DataError, match="no mask has a pixel of a class"):
        check_learnable(ignored, settings(task="segmentation"))
    for task in ("detection", "segmentation"):
        check_learnable(train, settings(task=task))
    assert isinstance(train, pd.DataFrame)
