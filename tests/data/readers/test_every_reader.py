"""Every reader: from its layout on disk to scores, and with broken files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import layouts
from reading import stops_and_skips
from PIL import Image

from dg_project.config import LDMParams, Settings, SynthesisParams, Task
from dg_project.data.readers import READERS, read_domain
from dg_project.evaluation.predictions import scored_rows
from dg_project.evaluation.scorers import main_metric
from dg_project.experiments import scoring
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun
from dg_project.pipelines.ingestion import nodes

STEPS = 20
STREET = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]
SHARES = {"train": "all[:60%]", "val": "all[60%:80%]", "test": "all[80%:]"}
HALVES = {"train": "train[:50%]", "val": "train[50%:]", "test": "val"}


@dataclass(frozen=True)
class Case:
    """A layout and its parameters; the target is the folder of the source."""

    build: Callable[[Path], Path]
    task: Task
    folder: str
    splits: dict[str, str]
    classes: list[str]
    target_split: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)


def voc(root: Path) -> Path:
    return layouts.voc(root, names=tuple(f"2008_{k:06d}" for k in range(5)))


CASES = {
    "voc": Case(voc, "instance_segmentation", "VOCdevkit",
                {"train": "train[:60%]", "val": "train[60%:80%]", "test": "train[80%:]"}, ["car", "person"], "train",
                {"year": "VOC2012", "mask_ids": "voc"}),
    "coco": Case(layouts.coco, "detection", "coco",
                 {"train": "train2017[:67%]", "val": "train2017[67%:]", "test": "val2017"}, ["car", "person"]),
    "yolo": Case(layouts.yolo, "detection", "coco8", HALVES, layouts.YOLO_CLASSES),
    "cityscapes": Case(lambda root: layouts.cityscapes(root, betas=("0.02",)), "segmentation", "cityscapes", HALVES,
                       STREET, target={"options": {"beta": 0.02}}),
    "acdc": Case(layouts.acdc, "segmentation", "acdc", HALVES, STREET, target={"options": {"condition": "night"}}),
    "bdd100k": Case(layouts.bdd100k, "detection", "bdd100k", HALVES, ["car", "pedestrian"],
                    target={"options": {"labels": "det_20", "timeofday": ["night"]}}),
    "gta5": Case(layouts.gta5, "segmentation", "gta5", {name: name for name in ("train", "val", "test")}, STREET),
    "synthia": Case(layouts.synthia, "segmentation", "RAND_CITYSCAPES", SHARES, STREET, "all"),
    "mapillary": Case(layouts.mapillary, "segmentation", "mapillary", HALVES, STREET),
    "image_folder": Case(layouts.image_folder, "classification", "photo", SHARES, ["dog", "elephant", "giraffe"], "all",
                         target={"folder": "art_painting"}),
    "image_mask": Case(layouts.image_mask, "segmentation", "leaves", SHARES, STREET, "all",
                       {"ids": {0: 0, 255: 1}}),
}
DETECTOR = {"image_size": [32, 48], "fpn_channels": 16, "box_head_features": 32, "anchor_sizes": [8, 16, 32],
            "proposals_train": 32, "proposals_test": 16, "rois_per_image": 16}


def settings(name: str, root: Path) -> Settings:
    case = CASES[name]
    data = {"reader": name, "root": str(root), "source": case.folder, "targets": ["unseen"], "classes": case.classes,
            "splits": case.splits, "target_split": case.target_split, "options": case.options,
            "domains": {"unseen": {"folder": case.folder, **case.target}}}
    return Settings.model_validate({
        "task": case.task, "method": "erm", "data": data, "ldm": LDMParams(checkpoint="none"),
        "synthesis": SynthesisParams(domains={"fog": {"prompt": "fog"}}),
        "backbone": {"name": "test_resnet", "weights": None, "frozen_stages": 0, "frozen_bn": False},
        "detection": DETECTOR, "instance_segmentation": {**DETECTOR, "mask_channels": 16, "mask_layers": 1},
        "segmentation": {"image_size": [32, 48], "channels": 16}, "classification": {"image_size": [32, 48]},
        "training": {"max_steps": STEPS, "images_per_step": 2, "warmup_steps": 2, "validate_every": STEPS,
                     "checkpoint_every": STEPS, "device": "cpu", "threads": 1},
    })


def test_every_reader_has_a_case() -> None:
    assert set(CASES) == set(READERS)


@pytest.mark.parametrize("name", CASES)
def test_reader_to_scores(name: str, tmp_path: Path) -> None:
    root = CASES[name].build(tmp_path / "data")
    chosen = settings(name, root)
    source, skipped = nodes.ingest_source(chosen.data)
    target, skipped_too = nodes.ingest_targets(chosen.data)
    assert skipped == skipped_too == []
    trained = TrainingRun.resolve("erm", chosen, TrainingData(source, root), tmp_path).train()
    losses = trained.history["loss"].to_numpy()
    assert len(losses) == STEPS
    assert np.isfinite(losses).all()
    assert np.median(losses[-5:]) < np.median(losses[:5])
    images = scored_rows(source, target)
    found = scoring.predict(trained.folder, images, root, 4, "cpu")
    by_class = scoring.by_class(trained.folder, found, images, root)
    records = scoring.records(trained.folder, by_class, "now")
    rows = records[records["metric"] == main_metric(chosen.task)].set_index("domain")
    assert list(rows.index) == [chosen.data.source, "unseen", "unseen_mean"]
    assert rows["value"].between(0, 1).all()
    assert rows.loc["unseen", "n_images"] == len(target)
    labelled = by_class[(by_class["domain"] == "unseen") & (by_class["class"] != "all")].groupby("class")["n_labels"]
    assert (labelled.first() > 0).sum() >= 2


def arguments(name: str, root: Path) -> dict[str, Any]:
    """Arguments of ``read_domain`` for the training split of a case."""
    case = CASES[name]
    return {"reader": name, "root": root, "domain": case.folder, "role": "source", "classes": case.classes,
            "splits": {"train": case.splits["train"].split("[")[0]}, "options": case.options}


def truncate(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(path.read_bytes()[:60])


def bomb(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.picture(path, size=(300, 200))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 * 200 // 3)


def circle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES = {"truncated": (truncate, "it is truncated or no image"), "bomb": (bomb, "it unpacks to more pixels"),
           "link in a circle": (circle, r"cannot be resolved|symbolic links")}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", CASES)
def test_broken_image_stops_or_skips(name: str, damage: Any, message: str, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    options = arguments(name, CASES[name].build(tmp_path))
    whole, _ = read_domain(**options)
    broken = whole["image"].iloc[0]
    damage(tmp_path / broken, monkeypatch)
    left = stops_and_skips(rf"{re.escape(Path(broken).name)}.*({message})", **options)
    assert left["image"].tolist() == whole["image"].tolist()[1:]


@pytest.mark.parametrize("name", CASES)
def test_domain_folder_option(name: str, tmp_path: Path) -> None:
    plain, _ = read_domain(**arguments(name, CASES[name].build(tmp_path / "plain")))
    other, _ = read_domain(**arguments(name, CASES[name].build(tmp_path / "Größe 1 (夜) [50%]")))
    assert plain.to_dict("records") == other.to_dict("records")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.task.endswith("segmentation")])
def test_mask_wrong_depth_or_size(name: str, tmp_path: Path) -> None:
    options = arguments(name, CASES[name].build(tmp_path))
    mask = tmp_path / read_domain(**options)[0]["mask"].iloc[0]
    size = layouts.HEIGHT, layouts.WIDTH
    if name != "synthia":  # whose masks have 16 bits
        layouts.ids(mask, np.zeros(size, np.uint16))
        stops_and_skips(rf"{re.escape(mask.name)}: it stores 16 bits per pixel", **options)
    layouts.ids(mask, np.zeros((size[0] + 1, size[1]), np.uint8))
    stops_and_skips(rf"{re.escape(mask.name)}: it is 40x25, but its image is 40x24", **options)
