"""Cache folders: names, locks and publishing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from dg_project.core import cache, code_key
from dg_project.core.errors import DataError

CODE = "dg_project.core.errors"


def test_cache_folder_same_inputs(tmp_path: Path) -> None:
    first = cache.cache_folder(tmp_path, "training", {"lr": 0.1}, 3, code=[CODE])
    assert first.is_dir()
    assert cache.cache_folder(tmp_path, "training", {"lr": 0.1}, 3, code=[CODE]) == first
    assert cache.cache_folder(tmp_path, "training", {"lr": 0.2}, 3, code=[CODE]) != first
    assert cache.cache_folder(tmp_path, "training", {"lr": 0.1}, 4, code=[CODE]) != first


def test_code_key_ignores_comments_and_layout(tmp_path: Path) -> None:
    def meaning(text: str) -> str:
        (tmp_path / "dg_project").mkdir(exist_ok=True)
        (tmp_path / "dg_project/module.py").write_text(text)
        return code_key.code_key("dg_project.module", root=tmp_path)

    plain = meaning("def f(x):\n    return x + 1\n")
    dressed = '"""Module."""\n\n\ndef f(x):\n    """Add one."""\n    return (x\n            + 1)  # one\n'
    assert meaning(dressed) == plain
    assert meaning("def f(x):\n    return x + 2\n") != plain


def test_code_key_ignores_unrelated_code() -> None:
    training, tasks = "dg_project.training.selection", "dg_project.tasks"
    assert code_key.code_key(training) == code_key.code_key(training)
    assert code_key.code_key(training) != code_key.code_key(training, tasks)


def test_publish_images_named_only(tmp_path: Path) -> None:
    work, target = tmp_path / "work", tmp_path / "target"
    for name in ("fog/a.png", "fog/a.json", "fog/b.png"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    target.mkdir()
    cache.publish_images(work, pd.DataFrame({"image": ["fog/a.png"]}))(target)
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*.*")) == ["fog/a.json", "fog/a.png"]
    with pytest.raises(DataError, match="leaves its root"):
        cache.publish_images(work, pd.DataFrame({"image": ["../secret.png"]}))(target)


def test_publish_folders_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(name)
    target = tmp_path / "target"
    target.mkdir()
    cache.publish_folders({"erm/seed0": tmp_path / "one", "drsf/seed0": tmp_path / "two"})(target)
    assert (target / "erm/seed0/model.json").read_text() == "one"
    assert (target / "drsf/seed0/model.json").read_text() == "two"


def test_lock_folder_is_exclusive(tmp_path: Path) -> None:
    with cache.lock_folder(tmp_path), pytest.raises(cache.BusyError), cache.lock_folder(tmp_path, wait=False):
        pass
    with cache.lock_folder(tmp_path, wait=False):
        assert (tmp_path / ".lock").is_file()


def test_work_through_waits_for_busy_pieces_last() -> None:
    asked: list[tuple[str, bool]] = []

    def piece(name: str, wait: bool) -> str:
        asked.append((name, wait))
        if name == "first" and not wait:
            raise cache.BusyError
        return name.upper()

    done = cache.work_through("cell", {name: partial(piece, name) for name in ("first", "second")})
    assert asked == [("first", False), ("second", False), ("first", True)]
    assert list(done.items()) == [("first", "FIRST"), ("second", "SECOND")]
