import numpy as np
import pandas as pd
import pytest
from streets_fixture import CLASSES, SOURCE

from dg_project.domains.manifest import check_boxes, manifest_fingerprint, select, validate_manifest
from dg_project.errors import DataError


def test_a_good_manifest_passes_unchanged(tiny_manifest):
    assert validate_manifest(tiny_manifest, CLASSES) is tiny_manifest


@pytest.mark.parametrize(("change", "message"), [
    (lambda m: m.drop(columns="sha256"), "sha256"),
    (lambda m: m.iloc[:0], "no image"),
    (lambda m: pd.concat([m, m.head(1)]), "'train_000' comes twice"),
    (lambda m: m.head(1).assign(labels=[[8, 1]]), "labels"),
    (lambda m: m.head(1).assign(labels=[[1]]), "labels"),
    (lambda m: m.head(1).assign(boxes=[[[0, 0, 97, 5]]], labels=[[1]]), "outside"),
])
def test_a_wrong_manifest_is_explained(tiny_manifest, change, message):
    with pytest.raises(DataError, match=message):
        validate_manifest(change(tiny_manifest), CLASSES)


def test_candidates_of_one_image_are_no_duplicates(tiny_pseudo):
    _, manifest = tiny_pseudo
    second = manifest.assign(candidate=1)
    validate_manifest(pd.concat([manifest, second], ignore_index=True), CLASSES)


@pytest.mark.parametrize(("box", "fine"), [
    ([0, 0, 10, 5], True), ([0, 0, 10.5, 5], False), ([-0.5, 0, 3, 3], False), ([3, 0, 3, 3], False),
    ([4, 0, 3, 3], False), ([0, np.nan, 3, 3], False), ([0, 0, np.inf, 3], False),
])
def test_boxes_lie_inside_and_have_an_area(box, fine):
    if fine:
        check_boxes(np.array([box]), 10, 5, "here")
    else:
        with pytest.raises(DataError, match="here"):
            check_boxes(np.array([box]), 10, 5, "here")


def test_select_filters_and_counts_from_zero(tiny_manifest):
    rows = select(tiny_manifest, split="test", role="target")
    assert len(rows) == 16
    assert rows.index.tolist() == list(range(16))
    assert SOURCE not in set(rows["domain"])
    assert len(select(tiny_manifest, domain=SOURCE, split="val")) == 4


def test_the_fingerprint_survives_parquet_and_follows_weights(tmp_path, tiny_pseudo):
    _, manifest = tiny_pseudo
    manifest.to_parquet(tmp_path / "m.parquet")
    assert manifest_fingerprint(pd.read_parquet(tmp_path / "m.parquet")) == manifest_fingerprint(manifest)
    assert manifest_fingerprint(manifest.assign(weight=0.5)) != manifest_fingerprint(manifest)
    assert manifest_fingerprint(manifest.assign(kept=False)) != manifest_fingerprint(manifest)
