"""``data.ignore_classes`` from the files of every kind of reader to the data card, and its errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import layouts
import pandas as pd
import pytest
from reading import read
from streets_fixture import CLASSES, SOURCE

from dg_project.config import DataParams, LDMParams, Settings, VocabularyParams
from dg_project.config.generation import PseudoDomain
from dg_project.core.errors import DataError, ParameterError
from dg_project.data.card import check_classes, data_card, format_card
from dg_project.data.instances import load_instances
from dg_project.data.manifest import manifest_fingerprint, validate_manifest
from dg_project.data.objects import objects
from dg_project.data.readers import read_domain
from dg_project.pipelines.ingestion import nodes
from dg_project.pseudo.generators.diffusion import DiffusionGenerator
from dg_project.pseudo.synthesis import eligible

LAYOUTS: dict[str, tuple[Callable[[Path], Path], str, str, dict[str, Any]]] = {
    "voc": (layouts.voc, "VOCdevkit", "train", {"year": "VOC2012", "mask_ids": "voc"}),
    "coco": (layouts.coco, "coco", "train2017", {}),
    "yolo": (layouts.yolo, "coco8", "train", {}),
    "bdd100k": (layouts.bdd100k, "bdd100k", "train", {"labels": "det_2018"}),
    "cityscapes": (layouts.cityscapes, "cityscapes", "train", {}),
    "mapillary": (layouts.mapillary, "mapillary", "train", {}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_reader_marks_ignored_boxes(tmp_path: Path, name: str) -> None:
    build, domain, split, options = LAYOUTS[name]
    root = build(tmp_path)
    rules = {"options": options, "other_classes": "ignore"}
    both = read(name, root, domain, split, ["car", "person"], **rules)
    manifest = read(name, root, domain, split, ["car"], ignore_classes=["tram", "person"], **rules)
    assert sum(len(labels) for labels in both["labels"]) > 0
    for before, after in zip(both.itertuples(), manifest.itertuples(), strict=True):
        assert after.boxes == before.boxes
        assert after.labels == [1 if label == 1 else -2 for label in before.labels]
        assert after.difficult == [hard or label == 2 for hard, label in
                                   zip(before.difficult, before.labels, strict=True)]
        if after.instances:
            assert len(load_instances(root, after)) == len(after.boxes)
    assert manifest_fingerprint(manifest) != manifest_fingerprint(both)


def test_ignored_name_is_that_after_rename(tmp_path: Path) -> None:
    manifest = read("coco", layouts.coco(tmp_path), "coco", "train2017", ["car"], rename={"person": "people"},
                    ignore_classes=["people"])
    assert manifest.loc[0, "labels"] == [1, -1, -1]


def test_image_folder_of_ignored_class_is_no_object(tmp_path: Path) -> None:
    root = layouts.image_folder(tmp_path)
    manifest = read("image_folder", root, "photo", "all", ["dog", "elephant"], ignore_classes=["giraffe"])
    rows = objects(manifest, margin=0, min_side=1)
    assert len(rows) == 20
    assert {label for labels in rows["labels"] for label in labels} == {1, 2}


def streets(root: Path, **changes: Any) -> pd.DataFrame:
    kept = [name for name in CLASSES if name not in ("person", "rider")]
    return read_domain("voc", root, SOURCE, "source", {"train": "train", "val": "val"}, kept,
                       ignore_classes=["rider", "person"], **changes)[0]


def test_card_counts_ignored_boxes_apart(tiny_streets: Path, tiny_manifest: pd.DataFrame) -> None:
    manifest = streets(tiny_streets)
    whole = tiny_manifest[(tiny_manifest["domain"] == SOURCE) & (tiny_manifest["split"] == "train")]
    names = [CLASSES[label - 1] for labels in whole["labels"] for label in labels]
    hard = [flag for flags in whole["difficult"] for flag in flags]
    ignored = ("rider", "person")
    kept = [name for name in CLASSES if name not in ignored]
    card = data_card(manifest, kept, [], ignored)
    entry = card["splits"][0]
    assert entry["ignored_per_class"] == {name: names.count(name) for name in ignored}
    assert entry["boxes_per_class"] == {name: names.count(name) for name in kept}
    assert entry["boxes"] == sum(entry["boxes_per_class"].values())
    assert entry["difficult"] == sum(flag for flag, name in zip(hard, names, strict=True) if name in kept)
    text = format_card(card)
    assert f"ignored in {SOURCE}/train: {names.count('rider')} rider" in text
    counts = card["splits"][1]["ignored_per_class"]
    assert f"ignored in {SOURCE}/val: {counts['rider']} rider, {counts['person']} person" in text
    assert "ignored" not in format_card(data_card(whole, CLASSES, []))
    assert check_classes(card) == []


def test_card_names_class_that_no_domain_has(tmp_path: Path) -> None:
    layouts.coco(tmp_path)
    data = {"root": str(tmp_path), "reader": "coco", "source": "coco", "targets": ["night"], "other_classes": "ignore",
            "splits": {"train": "train2017", "test": "val2017"}, "domains": {"night": {"folder": "coco"}}}

    def ingested(classes: list[str], ignored: list[str], task: str = "detection") -> dict[str, Any]:
        params = DataParams(**data, classes=classes, ignore_classes=ignored)
        return nodes.make_card(nodes.ingest_source(params)[0], nodes.ingest_targets(params)[0], [], [], params, task)

    assert ingested(["car"], ["person"])["splits"][0]["ignored_per_class"] == {"person": 4}
    with pytest.raises(DataError, match=r"^data\.ignore_classes: no domain has a box of 'persn'; correct the spelling"):
        ingested(["car"], ["persn"])
    with pytest.raises(DataError, match=r"^data\.classes: no domain has a box of 'tram', 'bus'; correct"):
        ingested(["car", "tram", "bus"], ["person"])
    assert ingested(["car", "tram"], [], "segmentation")["splits"], "masks name their classes elsewhere"


def test_class_without_training_box_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = read("coco", layouts.coco(tmp_path), "coco", "train2017", ["car", "person"])
    data = DataParams(root=str(tmp_path), source="coco", targets=["night"], classes=["car", "person"])
    target = source.assign(role="target", domain="night", split="test")
    nodes.make_card(source, target, [], [], data)
    assert "training images" not in caplog.text
    source["labels"] = [[1] * len(labels) for labels in source["labels"]]
    nodes.make_card(source, target, [], [], data)
    assert "the training images have no box of 'person', so no method can learn it" in caplog.text
    assert "no box of 'car', so" not in caplog.text


@pytest.mark.parametrize(("changes", "message"), [
    ({"ignore_classes": ["car"]}, r"ignore_classes: 'car' is also in classes"),
    ({"ignore_classes": ["human"], "rename": {"human": "car"}}, r"ignore_classes: rename makes 'human' a 'car'"),
    ({"ignore_classes": ["van"], "rename": {"lorry": "vna"}}, r"rename: 'vna' is not in classes\. .*mean 'van'\?"),
])
def test_wrong_names(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataParams(root="x", source="a", targets=["b"], classes=["car", "bus"], **changes)
    DataParams(root="x", source="a", targets=["b"], classes=["car"], ignore_classes=["van"], rename={"lorry": "van"})


def test_unknown_class_may_be_ignored(tmp_path: Path) -> None:
    root = layouts.coco(tmp_path)
    with pytest.raises(DataError, match=r"'person' are not in data\.classes; .*name them in data\.ignore_classes"):
        read("coco", root, "coco", "train2017", ["car"])
    with pytest.raises(DataError, match=r"unknown class 'person'\. Did you mean 'persons'\?"):
        read("cityscapes", layouts.cityscapes(tmp_path), "cityscapes", "train", ["car"], ignore_classes=["persons"])


def test_segmentation_has_ids_instead() -> None:
    from config.test_parameters import METHODS, RAW, check_parameters

    raw = {**RAW, "data": {**RAW["data"], "ignore_classes": ["van"]}}
    assert isinstance(check_parameters(raw, METHODS), Settings)
    with pytest.raises(ParameterError, match=r"data\.ignore_classes names boxes, .*data\.options\.ignore of the reader"):
        check_parameters({**raw, "task": "segmentation"}, METHODS)


def test_manifest_with_ignored_box(tmp_path: Path) -> None:
    manifest = read("coco", layouts.coco(tmp_path), "coco", "train2017", ["car"], ignore_classes=["person"])
    assert validate_manifest(manifest, ["car"]) is manifest
    manifest.at[0, "difficult"] = [False, False, True]
    with pytest.raises(DataError, match=r"has labels \[1, -1, -1\] for 3 boxes and 1 classes"):
        validate_manifest(manifest, ["car"])


def test_synthesis_does_not_name_or_count_ignored_boxes(tmp_path: Path) -> None:
    manifest = read("coco", layouts.coco(tmp_path), "coco", "train2017", ["car"], ignore_classes=["person"])
    assert eligible(manifest, 1, 1, None)["labels"].map(len).tolist() == [3, 3]
    domain = PseudoDomain(vocabulary=VocabularyParams(weather=["foggy"], time=["dusk"], objects=9), strength=0.5)
    row = manifest.iloc[0].to_dict()
    model: Any = SimpleNamespace(fingerprint="weights")
    ldm = LDMParams(checkpoint="folder", mode="img2img")
    prompt = DiffusionGenerator(model, ldm, tmp_path, ["car"]).look(domain, row, 0).prompt
    assert " car " in prompt
    assert prompt.count("foggy street") == 2, "the scene and the car"
