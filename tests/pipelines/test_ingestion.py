"""The ingestion: several readers in one run, counts, the card of what was read, and what was left out of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from layouts import acdc, bdd100k, cityscapes, gta5, image_folder, mapillary

from dg_project.config import DataParams
from dg_project.core.errors import DataError
from dg_project.data.manifest import validate_manifest
from dg_project.pipelines.ingestion import nodes
from dg_project.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
CLASSES = ["person", "car"]


def test_gta5_to_real_readers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The protocol of domain-generalized segmentation: every domain has a reader of its own."""
    for build in (gta5, bdd100k, mapillary, acdc):
        build(tmp_path)
    cityscapes(tmp_path, betas=("0.02",))
    data = DataParams(
        root=str(tmp_path), reader="cityscapes", source="gta5", classes=CLASSES, target_split="val",
        targets=["cityscapes", "foggy", "bdd100k", "mapillary", "night"],
        domains={"gta5": {"reader": "gta5"}, "foggy": {"folder": "cityscapes", "options": {"beta": 0.02}},
                 "bdd100k": {"reader": "bdd100k", "options": {"labels": "sem_seg"}},
                 "mapillary": {"reader": "mapillary"},
                 "night": {"reader": "acdc", "folder": "acdc", "options": {"condition": "night"}}},
        expected_counts={"gta5/train": 3, "cityscapes/test": 2, "night/test": 2})
    source, _ = nodes.ingest_source(data)
    target, _ = nodes.ingest_targets(data)
    assert source.groupby("split").size().to_dict() == {"train": 3, "val": 1, "test": 2}
    assert target.groupby("domain").size().to_dict() == {"cityscapes": 2, "foggy": 2, "bdd100k": 4, "mapillary": 2,
                                                         "night": 2}
    assert dict(zip(target["domain"], target["mask_ids"], strict=True)) == {
        "cityscapes": "cityscapes_ids", "foggy": "cityscapes_ids", "bdd100k": "train_ids", "mapillary": "mapillary",
        "night": "train_ids"}
    assert all((tmp_path / mask).is_file() for mask in [*source["mask"], *target["mask"]])
    validate_manifest(target, CLASSES)
    with caplog.at_level("INFO"):
        card = nodes.make_card(source, target, [], [], data)
    assert [entry["masks"] for entry in card["splits"]] == [3, 1, 2, 2, 2, 4, 2, 2]
    assert "data card" in caplog.text


def test_gta5_to_real_adapt_split(tmp_path: Path) -> None:
    """As the environment's README says: its data with adapt_split=train, no target's training split labelled."""
    for build in (bdd100k, mapillary, cityscapes):
        build(tmp_path)
    for truth in ("bdd100k/labels", "mapillary/training/labels", "mapillary/training/instances", "cityscapes/gtFine"):
        shutil.rmtree(tmp_path / truth)
    shipped = OmegaConfigLoader(conf_source=str(CONF), env="gta5_to_real", **CONFIG_LOADER_ARGS)["parameters"]["data"]
    asked = {**shipped, "root": str(tmp_path), "adapt_split": "train"}
    adapt, skipped = nodes.ingest_adapt(DataParams(**{**asked, "expected_counts": {}}))
    assert adapt.groupby("domain").size().to_dict() == {"cityscapes": 4, "bdd100k": 4, "mapillary": 2}
    assert skipped == []
    assert not any(adapt["mask"])
    with pytest.raises(DataError, match=r"cityscapes/adapt: 'train' .* lists 4 images, but .* says 2975"):
        nodes.ingest_adapt(DataParams(**asked))


def test_wrong_expected_count(tmp_path: Path) -> None:
    gta5(tmp_path)
    data = DataParams(root=str(tmp_path), reader="gta5", source="gta5", targets=["other"], classes=CLASSES,
                      expected_counts={"gta5/train": 12403})
    with pytest.raises(DataError, match=r"gta5/train: 'train' below .* lists 3 images, but .* says 12403"):
        nodes.ingest_source(data)


def test_image_folder_shares(tmp_path: Path) -> None:
    image_folder(tmp_path)
    data = DataParams(root=str(tmp_path), reader="image_folder", source="photo", targets=["art_painting"],
                      classes=["dog", "elephant", "giraffe"], target_split="all",
                      splits={"train": "all[:80%]", "val": "all[80%:90%]", "test": "all[90%:]"})
    source, _ = nodes.ingest_source(data)
    target, _ = nodes.ingest_targets(data)
    assert source.groupby("split").size().to_dict() == {"train": 24, "val": 3, "test": 3}
    assert len(target) == 20
    assert set(target["split"]) == {"test"}


def test_broken_samples_are_skipped(project: Any) -> None:
    """A truncated image of the source, a label of it that breaks off, and an image of a target that is no image."""
    from dg_project.data.readers.collection import decode_fully

    streets = project.root / "data/01_raw/streets"
    cut = streets / "daytime_clear/VOC2007/JPEGImages/train_002.jpg"
    cut.write_bytes(cut.read_bytes()[:600])
    label = streets / "daytime_clear/VOC2007/Annotations/val_001.xml"
    label.write_text(label.read_text()[:120])
    empty = streets / "night_clear/VOC2007/JPEGImages/test_003.jpg"
    empty.write_bytes(b"")
    version = project.run("ingestion", data={"on_bad_sample": "skip"})

    card = project.load("data_card", version)
    assert len(card["skipped"]) == 3
    for message, broken in zip(card["skipped"], (cut, label, empty), strict=True):
        assert str(broken) in message
    counted = {(entry["domain"], entry["split"]): entry["images"] for entry in card["splits"]}
    assert counted == {
        ("daytime_clear", "train"): 7, ("daytime_clear", "val"): 3, ("daytime_clear", "test"): 4,
        ("night_clear", "test"): 3, ("dusk_rainy", "test"): 4, ("night_rainy", "test"): 4, ("daytime_foggy", "test"): 4}

    manifests = [project.load(name, version) for name in ("source_manifest", "target_manifest")]
    listed = [row.image for manifest in manifests for row in manifest.itertuples()]
    there = {image.relative_to(streets).as_posix() for image in streets.rglob("*.jpg") if "adapt" not in image.name}
    left_out = {path.relative_to(streets).as_posix() for path in (cut, empty)}
    left_out.add("daytime_clear/VOC2007/JPEGImages/val_001.jpg")
    assert sorted(listed) == sorted(there - left_out)
    for image in listed:
        decode_fully(streets / image)
