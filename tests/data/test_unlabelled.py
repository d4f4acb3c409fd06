"""Unlabelled target images: listing, batches, separation from labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from layouts import acdc, bdd100k, cityscapes, coco, gta5, image_folder, mapillary, synthia, yolo
from streets_fixture import CLASSES, SOURCE, TARGETS

from dg_project.core.errors import DataError
from dg_project.data.batches import BatchStream, Shard
from dg_project.data.card import unlabelled_card
from dg_project.data.dataset import ManifestDataset
from dg_project.data.objects import whole_images
from dg_project.data.readers import read_domain
from dg_project.data.unlabelled import UnlabelledStream


def ingest(root: Path) -> pd.DataFrame:
    return pd.concat([read_domain("voc", root, name, "adapt", {"adapt": "adapt"}, CLASSES)[0] for name in TARGETS],
                     ignore_index=True)


def test_adapt_opens_no_annotation(tiny_streets: Path, tiny_adapt: pd.DataFrame) -> None:
    assert len(tiny_adapt) == 3 * len(TARGETS)
    assert set(tiny_adapt["role"]) == set(tiny_adapt["split"]) == {"adapt"}
    assert not any(len(row) for column in ("boxes", "labels", "difficult", "instance_ids", "mask")
                   for row in tiny_adapt[column])
    for folder in ("Annotations", "SegmentationClass"):
        for path in tiny_streets.glob(f"*/VOC2007/{folder}/adapt_*"):
            path.write_bytes(b"poison")
    pd.testing.assert_frame_equal(ingest(tiny_streets), tiny_adapt)
    for name in TARGETS:
        for folder in ("Annotations", "SegmentationClass", "SegmentationObject"):
            shutil.rmtree(tiny_streets / name / "VOC2007" / folder)
    pd.testing.assert_frame_equal(ingest(tiny_streets), tiny_adapt)


@pytest.mark.parametrize(("build", "reader", "split", "truth"), [
    (cityscapes, "cityscapes", "val", "gtFine"), (acdc, "acdc", "val", "gt"), (gta5, "gta5", "val", "labels"),
    (synthia, "synthia", "all", "GT"), (mapillary, "mapillary", "val", "validation/labels"),
    (yolo, "yolo", "val", "labels"), (bdd100k, "bdd100k", "val", "labels"), (image_folder, "image_folder", "all", ""),
])
def test_readers_list_unlabelled_images(tmp_path: Path, build, reader, split, truth) -> None:
    build(tmp_path)
    domain = "art_painting" if reader == "image_folder" else next(
        path.name for path in sorted(tmp_path.iterdir()) if (path / truth).is_dir())
    if truth:
        shutil.rmtree(tmp_path / domain / truth)
    found, _ = read_domain(reader, tmp_path, domain, "adapt", {"adapt": split}, ["car"])
    assert len(found) >= 1
    assert not any(len(row) for row in found["labels"])


def test_adapt_refuses_annotation_lists(tmp_path: Path) -> None:
    coco(tmp_path)
    domain = next(path.name for path in tmp_path.iterdir() if path.is_dir())
    with pytest.raises(DataError, match="adaptation must not open; list the images in the layout of the voc reader"):
        read_domain("coco", tmp_path, domain, "adapt", {"adapt": "val2017"}, ["car"])


def test_adapt_batches_depend_on_seed_and_step(
        tiny_streets: Path, tiny_manifest: pd.DataFrame, tiny_adapt: pd.DataFrame) -> None:
    source = ManifestDataset(tiny_manifest[tiny_manifest["split"] == "train"], tiny_streets)
    images = ManifestDataset(tiny_adapt, tiny_streets)
    unlabelled = UnlabelledStream(images, 1, 4, seed=3, flip=0.5)
    plain = BatchStream(source, None, [SOURCE], "source", 4, 3, 0.5)
    adapting = BatchStream(source, None, [SOURCE, "adapt"], "source", 4, 3, 0.5, unlabelled.batch)
    seen = []
    for step in range(6):
        batch, same = adapting.batch(step), plain.batch(step)
        assert same.adapt is None
        assert torch.equal(torch.stack(batch.images), torch.stack(same.images))
        adapt, again = batch.to("cpu").adapt, UnlabelledStream(images, 1, 4, seed=3, flip=0.5).batch(step)
        assert torch.equal(torch.stack(adapt.images), torch.stack(again.images))
        parts = [part.batch.adapt.images for part in adapting.parts(step, Shard(parts=2))]
        assert torch.equal(torch.stack(adapt.images), torch.stack([row for pair in zip(*parts, strict=True)
                                                                   for row in pair]))
        assert adapt.domain_id.tolist() == [1] * 4
        assert len({*adapt.pair_id.tolist(), *batch.pair_id.tolist()}) == 8
        assert all(not len(target["boxes"]) and not len(target["labels"]) for target in adapt.targets)
        seen += [target["image_id"] for target in adapt.targets]
    assert all(seen.count(name) == 8 for name in set(seen)), "two epochs of twelve, three names in each of four domains"
    joined = batch.joined(adapt)
    assert len(joined) == 8
    assert joined.domain_id.tolist() == [0] * 4 + [1] * 4
    assert batch.rows(torch.tensor([0])).adapt is None


def test_adapt_refuses_labels_and_test_images(tiny_streets: Path, tiny_manifest: pd.DataFrame,
                                            tiny_adapt: pd.DataFrame) -> None:
    target = tiny_manifest[tiny_manifest["role"] == "target"]
    with pytest.raises(DataError, match=r"test_000.*comes with labels"):
        UnlabelledStream(ManifestDataset(target, tiny_streets), 1, 2, 0, 0.0)
    with pytest.raises(DataError, match="no unlabelled target image"):
        UnlabelledStream(ManifestDataset(tiny_adapt.head(0), tiny_streets), 1, 2, 0, 0.0)
    with pytest.raises(DataError, match=r"'test_000' of 'night_clear' is in both the adapt split and the test split"):
        unlabelled_card(target, target, [])
    card = unlabelled_card(tiny_adapt, target, [])
    assert card["images"] == dict.fromkeys(TARGETS, 3)
    with pytest.raises(DataError, match="classification can adapt only to data sets of one object per image"):
        whole_images(tiny_adapt, tiny_manifest)
