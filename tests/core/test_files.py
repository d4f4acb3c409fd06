import errno
import os
import subprocess

import pytest
from pydantic import BaseModel

from dg_project.core.errors import DataError, nearest
from dg_project.core.files import (
    ASIDE,
    atomic_file,
    atomic_folder,
    file_hash,
    fingerprint,
    fingerprint_rows,
    folder_hash,
    inside,
    link_or_copy,
    sweep,
)


def fail_after(write):
    write()
    raise RuntimeError("killed")


def test_atomic_file(tmp_path):
    target = tmp_path / "deep" / "table.csv"
    with atomic_file(target) as aside:
        aside.write_text("a,b\n")
        assert aside.suffix == ".csv"
        assert not target.exists()
    assert target.read_text() == "a,b\n"
    assert list(target.parent.iterdir()) == [target]


def test_atomic_file_error_keeps_old(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="killed"), atomic_file(target) as aside:
        fail_after(lambda: aside.write_text("half"))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_folder_replaces_old(tmp_path):
    target = tmp_path / "model"
    for name in ("first", "second"):
        with atomic_folder(target) as aside:
            (aside / name).write_text(name)
            assert not (target / name).exists()
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_folder_error_keeps_old(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    with pytest.raises(RuntimeError, match="killed"), atomic_folder(target) as aside:
        fail_after(lambda: (aside / "weights").write_text("half"))
    assert (target / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("whole", [atomic_file, atomic_folder])
def test_full_disk_message(tmp_path, whole):
    with pytest.raises(OSError, match=r"the disk is full: '.*out' was not written") as caught, whole(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("whole", [atomic_file, atomic_folder])
def test_other_os_errors_unchanged(tmp_path, whole):
    with pytest.raises(PermissionError, match="no entry"), whole(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "no entry")


def test_link_or_copy_links(tmp_path):
    (tmp_path / "a").write_text("bytes")
    link_or_copy(tmp_path / "a", tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_text() == "bytes"
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "deep" / "b").stat().st_ino


def test_link_or_copy_copies_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("bytes")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "bytes"
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "b").stat().st_ino


def test_fingerprint_ignores_key_order(tmp_path):
    class Sizes(BaseModel):
        width: int

    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(Sizes(width=1)) == fingerprint({"width": 1})
    assert fingerprint(tmp_path) == fingerprint(str(tmp_path))
    different = [fingerprint(*parts) for parts in [(1,), (2,), (1, 2), ("1",), ([1],), (None,)]]
    assert len(set(different)) == len(different)
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in different)


def test_hashes_depend_on_names_and_bytes(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_bytes(b"abc")
    assert file_hash(folder / "sub" / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    before = folder_hash(folder)
    (folder / "sub" / "a").rename(folder / "sub" / "b")
    renamed = folder_hash(folder)
    (folder / "sub" / "b").write_bytes(b"abd")
    assert len({before, renamed, folder_hash(folder)}) == 3


def test_inside_refuses_leaving_the_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    assert inside(root, "a/b.png") == root / "a/b.png"
    assert inside(root, "a/../b.png").resolve() == root / "b.png"
    (root / "door").symlink_to(tmp_path)
    for relative in ("../secret", "a/../../secret", "/etc/passwd", str(root / "a"), "door/secret"):
        with pytest.raises(DataError, match="leaves its root"):
            inside(root, relative)


def test_nearest():
    assert nearest("drfs", ["erm", "drsf"]) == " Did you mean 'drsf'?"
    assert nearest("zzz", ["erm", "drsf"]) == " Known: drsf, erm."


@pytest.mark.parametrize("rows", [[], [("a", [1.5, 2.0], True)], [("ü", 1), {"b": 1, "a": None}, ["x"]]])
def test_fingerprint_rows_equals_fingerprint(rows):
    assert fingerprint_rows(iter(rows)) == fingerprint(rows)


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    gone, running = subprocess.Popen(["true"]), os.getpid()
    gone.wait()
    names = [f"{ASIDE}{gone.pid}-0a.csv", f"{ASIDE}{running}-0b.csv", ".tmp-elsewhere-1-0c.csv", f"{ASIDE}x.csv",
             "kept.csv"]
    for name in names:
        (tmp_path / name).write_text("half")
    folder = tmp_path / f"{ASIDE}{gone.pid}-0d"
    folder.mkdir()
    (folder / "half.png").write_text("half")
    sweep(tmp_path.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "x" * 300, "a\udcff"])
def test_inside_refuses_names_that_are_none(tmp_path, name):
    with pytest.raises(DataError, match="control character or is longer than 255") as caught:
        inside(tmp_path, name)
    assert str(caught.value).isprintable()
