"""LDMs of image folders, and leave-one-domain-out with the one of each fold: whole runs on generated images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from folders_fixture import DOMAINS, build_folders
from PIL import Image

from dg_project.core.errors import CheckpointError, DataError, ParameterError

ROOT = "data/01_raw/animals"
FOLDS: dict[str, Any] = {
    "data": {"root": ROOT}, "classification": {"image_size": [32, 32], "min_side": 6}, "method": "erm",
    "ldm": {"checkpoint": "data/smoke/06_models/folder_ldms/{held_out}", "resolution": 16},
    "leave_one_out": {"seeds": [0], "images_per_domain": 2, "methods": ["domainfusion", "dsi", "naive"]},
    "synthesis": {"n_images": 4, "candidates": 1, "domains": {
        "fog": None, "dusk_rain": None, "night": None, "night_rain": None,
        "as": {"prompt": "a {source} of a {class}", "strength": 0.5}}},
    "sampling": {"keep": "all", "gate": {"enabled": False}},
    "dsi": {"prompt": "a picture", "threshold": 1.0, "start": 0.5, "steps": 2},
}


def test_pretrain_and_leave_one_out(project: Any) -> None:
    root = build_folders(project.root / ROOT, 5)
    version = project.run("pretrain_folder_ldm", data={"root": ROOT}, pretrain_folder_ldm={"held_out": "each"})
    folder = project.load("folder_ldms", version)
    assert sorted(path.name for path in folder.iterdir()) == DOMAINS
    for name in DOMAINS:
        seen = json.loads((folder / name / "origin.json").read_text())
        assert (seen["held_out"], seen["domains"]) == (name, [other for other in DOMAINS if other != name])
    assert "sketch/unet/loss_velocity" in project.load("folder_ldms_history", version).columns

    version = project.run("leave_one_out", **FOLDS)
    table = project.load("left_out_table", version).set_index("method")
    assert list(table.index) == ["erm", "domainfusion", "dsi", "naive"]
    assert table.loc["naive", "images_generated"] == 4 * 2, "four images of each fold, as each of its two sources"
    assert table.loc["domainfusion", "images_generated"] > 0
    prompts = {path: json.loads(path.read_text()) for path in
               (project.data / ".workspace/synthesis").rglob("*.json") if path.name != "code.json"}
    assert {card["prompt"] for card in prompts.values()} == {
        f"{'an' if name == 'art' else 'a'} {name} of a {kind}" for name in DOMAINS for kind in ("cat", "dog")}
    made_of = {(card["domain"], card["source_image_id"].split("/")[0]) for card in prompts.values()}
    assert len({card["model"] for card in prompts.values()}) == 3, "one diffusion model per fold"
    assert {domain.removeprefix("as_") for domain, _ in made_of} == set(DOMAINS)
    assert root.is_dir()


def test_no_image_of_the_held_out_domain_is_opened(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_folders(project.root / ROOT, 5)
    opened, plain = [], Image.open

    def recorded(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(str(file if isinstance(file, (str, Path)) else getattr(file, "name", "")))
        return plain(file, *args, **options)

    monkeypatch.setattr(Image, "open", recorded)
    project.run("pretrain_folder_ldm", data={"root": ROOT}, pretrain_folder_ldm={"held_out": "photo"})
    assert any(f"{ROOT}/art/" in name for name in opened)
    assert not [name for name in opened if f"{ROOT}/photo/" in name]


def test_wrong_folds_stop_before_training(project: Any) -> None:
    build_folders(project.root / ROOT, 2)
    with pytest.raises(CheckpointError, match=r"no diffusion model for the fold that leaves 'art' out: .*kedro run "
                                              r"--pipeline=pretrain_folder_ldm .*held_out=art"):
        project.run("leave_one_out", **FOLDS)
    with pytest.raises(ParameterError, match=r"synthesis.domains.as: 'a \{source\} of a \{class\}' has \{source\}, "
                                             "which --pipeline=leave_one_out alone fills in"):
        project.run("drsf", synthesis=FOLDS["synthesis"])
    with pytest.raises(ParameterError, match=r"ldm.checkpoint: .* has \{held_out\}"):
        project.run("drsf", ldm=FOLDS["ldm"])
    for name in DOMAINS:
        (project.root / ROOT / name / "cat").rename(project.root / ROOT / name / "DOG")
    with pytest.raises(DataError, match="have the same caption"):
        project.run("pretrain_folder_ldm", data={"root": ROOT})
    assert not (project.data / ".workspace/training").exists()
