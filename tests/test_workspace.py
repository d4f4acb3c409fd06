"""Folders of the workspace are named after what determines their content."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dg_project import workspace
from dg_project.errors import DataError


def test_the_same_inputs_find_the_same_place(tmp_path: Path) -> None:
    first = workspace.place(tmp_path, "training", {"lr": 0.1}, 3)
    assert first.is_dir()
    assert workspace.place(tmp_path, "training", {"lr": 0.1}, 3) == first
    assert workspace.place(tmp_path, "training", {"lr": 0.2}, 3) != first
    assert workspace.place(tmp_path, "training", {"lr": 0.1}, 4) != first


def test_comments_docstrings_and_layout_do_not_count_but_code_does(tmp_path: Path) -> None:
    def meaning(text: str) -> str:
        path = tmp_path / "module.py"
        path.write_text(text)
        return workspace._meaning(path)

    plain = meaning("def f(x):\n    return x + 1\n")
    dressed = '"""Module."""\n\n\ndef f(x):\n    """Add one."""\n    return (x\n            + 1)  # one\n'
    assert meaning(dressed) == plain
    assert meaning("def f(x):\n    return x + 2\n") != plain


def test_code_of_another_part_does_not_count() -> None:
    assert workspace.code_hash("training") == workspace.code_hash("training")
    assert workspace.code_hash("training") != workspace.code_hash("training", "tasks")


def test_only_named_images_are_published(tmp_path: Path) -> None:
    work, target = tmp_path / "work", tmp_path / "target"
    for name in ("fog/a.png", "fog/a.json", "fog/b.png"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    target.mkdir()
    workspace.publish_images(work, pd.DataFrame({"image": ["fog/a.png"]}))(target)
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*.*")) == ["fog/a.json", "fog/a.png"]
    with pytest.raises(DataError, match="leaves its root"):
        workspace.publish_images(work, pd.DataFrame({"image": ["../secret.png"]}))(target)


def test_folders_are_published_under_their_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(name)
    target = tmp_path / "target"
    target.mkdir()
    workspace.publish_folders({"erm/seed0": tmp_path / "one", "drsf/seed0": tmp_path / "two"})(target)
    assert (target / "erm/seed0/model.json").read_text() == "one"
    assert (target / "drsf/seed0/model.json").read_text() == "two"


def test_a_folder_is_held_by_one_at_a_time_and_free_afterwards(tmp_path: Path) -> None:
    with workspace.claim(tmp_path), pytest.raises(workspace.BusyError), workspace.claim(tmp_path, wait=False):
        pass
    with workspace.claim(tmp_path, wait=False):
        assert (tmp_path / ".lock").is_file()
