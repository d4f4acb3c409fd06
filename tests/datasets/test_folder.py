"""Atomic versioned folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError, Version
from PIL import Image

from dg_project.datasets.folder import FolderDataset
from dg_project.datasets.images import ImageFolderDataset
from dg_project.datasets.model import ModelDataset


def writer(name: str, text: str):
    def write(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / name).write_text(text)

    return write


def dataset(root: Path, version: str | None = None, kind: type[FolderDataset] = FolderDataset) -> FolderDataset:
    return kind(filepath=root / "things", version=Version(None, version))


def test_folder_versions(tmp_path: Path) -> None:
    dataset(tmp_path, "2026-01-01T00.00.00.000Z").save(writer("a.txt", "old"))
    dataset(tmp_path, "2026-01-02T00.00.00.000Z").save(writer("a.txt", "new"))
    assert (dataset(tmp_path).load() / "sub" / "a.txt").read_text() == "new"
    assert [Path(v).parent.name for v in sorted(dataset(tmp_path).list_versions())] == [
        "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"]
    pinned = FolderDataset(filepath=tmp_path / "things", version=Version("2026-01-01T00.00.00.000Z", None))
    assert (pinned.load() / "sub" / "a.txt").read_text() == "old"


def test_folder_error_leaves_nothing(tmp_path: Path) -> None:
    def breaks(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("the power went")

    with pytest.raises(DatasetError, match="the power went"):
        dataset(tmp_path, "v1").save(breaks)
    assert not dataset(tmp_path).exists()
    assert list((tmp_path / "things").rglob("*")) == []


def test_full_disk_message(tmp_path: Path) -> None:
    import errno

    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DatasetError, match=r"the disk is full: .* no partial file is left"):
        dataset(tmp_path, "v1").save(full)


def test_folder_saved_by_path(tmp_path: Path) -> None:
    writer("a.txt", "text")(tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "b.txt").write_text("b")
    dataset(tmp_path, "v1").save(tmp_path / "made")
    assert (dataset(tmp_path).load() / "b.txt").read_text() == "b"


def test_folder_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        dataset(tmp_path, "v1").save(tmp_path / "nowhere")


def test_folder_unversioned(tmp_path: Path) -> None:
    plain = FolderDataset(filepath=tmp_path / "things")
    plain.save(writer("a.txt", "1"))
    plain.save(writer("b.txt", "2"))
    assert [p.name for p in plain.load().rglob("*.txt")] == ["b.txt"]


def test_image_folder_preview(tmp_path: Path) -> None:
    import base64
    import io

    def draw(folder: Path) -> None:
        for index in range(5):
            Image.new("RGB", (32, 16), (50 * index, 0, 0)).save(folder / f"{index}.png")

    images = dataset(tmp_path, "v1", ImageFolderDataset)
    images.save(draw)
    sheet = Image.open(io.BytesIO(base64.b64decode(images.preview(images=4, columns=2, width=64))))
    assert sheet.size == (128, 64)
    assert sheet.getpixel((70, 10)) == (50, 0, 0)


def test_model_preview(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "model.json").write_text('{"method": "erm"}')

    model = dataset(tmp_path, "v1", ModelDataset)
    model.save(write)
    assert model.preview() == '{"method": "erm"}'
