import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streets_fixture import CLASSES, SOURCE

from dg_project.core.errors import DataError
from dg_project.data.instances import load_instances
from dg_project.data.manifest import check_boxes, manifest_fingerprint, select, validate_manifest
from dg_project.data.masks import load_mask
from dg_project.data.readers import read_domain


def test_validate_manifest_valid(tiny_manifest):
    assert validate_manifest(tiny_manifest, CLASSES) is tiny_manifest


@pytest.mark.parametrize(("change", "message"), [
    (lambda m: m.drop(columns="sha256"), "sha256"),
    (lambda m: m.iloc[:0], "no image"),
    (lambda m: pd.concat([m, m.head(1)]), "'train_000' comes twice"),
    (lambda m: m.head(1).assign(labels=[[8, 1]]), "labels"),
    (lambda m: m.head(1).assign(labels=[[1]]), "labels"),
    (lambda m: m.head(1).assign(boxes=[[[0, 0, 97, 5]]], labels=[[1]]), "outside"),
    (lambda m: m.head(1).assign(mask_ids=""), "a mask without mask_ids"),
    (lambda m: m.head(1).assign(instance_ids=[[1]]), "not one instance id per box"),
    (lambda m: m.head(1).assign(instances=""), "not one instance id per box"),
])
def test_validate_manifest_errors(tiny_manifest, change, message):
    with pytest.raises(DataError, match=message):
        validate_manifest(change(tiny_manifest), CLASSES)


def test_validate_manifest_candidates(tiny_pseudo):
    _, manifest = tiny_pseudo
    second = manifest.assign(candidate=1)
    validate_manifest(pd.concat([manifest, second], ignore_index=True), CLASSES)


@pytest.mark.parametrize(("box", "fine"), [
    ([0, 0, 10, 5], True), ([0, 0, 10.5, 5], False), ([-0.5, 0, 3, 3], False), ([3, 0, 3, 3], False),
    ([4, 0, 3, 3], False), ([0, np.nan, 3, 3], False), ([0, 0, np.inf, 3], False),
])
def test_check_boxes(box, fine):
    if fine:
        check_boxes(np.array([box]), 10, 5, "here")
    else:
        with pytest.raises(DataError, match="here"):
            check_boxes(np.array([box]), 10, 5, "here")


def test_select(tiny_manifest):
    rows = select(tiny_manifest, split="test", role="target")
    assert len(rows) == 16
    assert rows.index.tolist() == list(range(16))
    assert SOURCE not in set(rows["domain"])
    assert len(select(tiny_manifest, domain=SOURCE, split="val")) == 4


@pytest.mark.parametrize("change", [{"labels_sha256": "0"}, {"mask_ids": "voc"}, {"instance_ids": [[7, 8]]}])
def test_fingerprint_depends_on_masks(tiny_manifest, change):
    one = tiny_manifest.head(1)
    assert manifest_fingerprint(one) != manifest_fingerprint(one.assign(**change))


def test_labels_hash(tiny_streets, tiny_manifest):
    before = tiny_manifest.set_index(["domain", "image_id"])["labels_sha256"]
    for kind in ("SegmentationClass", "SegmentationObject"):
        path = tiny_streets / SOURCE / "VOC2007" / kind / "val_000.png"
        Image.open(path).save(path, optimize=True, pnginfo=None, dpi=(72, 72))
        after = read_domain("voc", tiny_streets, SOURCE, "source", {"val": "val"}, CLASSES)[0]
        changed = [row.image_id for row in after.itertuples() if row.labels_sha256 != before[SOURCE, row.image_id]]
        assert changed == ["val_000"]
        before[SOURCE, "val_000"] = after.loc[0, "labels_sha256"]


def test_pseudo_image_uses_source_masks(tiny_streets, tiny_manifest, tiny_pseudo):
    _, pseudo = tiny_pseudo
    origins = tiny_manifest[tiny_manifest["role"] == "source"].set_index("image_id")
    for row in pseudo.itertuples():
        origin = origins.loc[row.source_image_id]
        for column in ("mask", "mask_ids", "instances", "instance_ids", "labels_sha256"):
            assert getattr(row, column) == origin[column]
        assert load_mask(tiny_streets / row.mask, row.mask_ids, (row.width, row.height)).shape == (64, 96)
        assert len(load_instances(tiny_streets, row)) == len(row.boxes)


def test_fingerprint_parquet_and_weights(tmp_path, tiny_pseudo):
    _, manifest = tiny_pseudo
    manifest.to_parquet(tmp_path / "m.parquet")
    assert manifest_fingerprint(pd.read_parquet(tmp_path / "m.parquet")) == manifest_fingerprint(manifest)
    assert manifest_fingerprint(manifest.assign(weight=0.5)) != manifest_fingerprint(manifest)
    assert manifest_fingerprint(manifest.assign(kept=False)) != manifest_fingerprint(manifest)
