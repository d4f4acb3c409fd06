"""Files of torch are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from dg_project.core import files, torch_files


def test_written_file_reads_back(tmp_path: Path) -> None:
    torch_files.save({"weights": torch.arange(3)}, tmp_path / "new" / "state.pt")
    assert torch.load(tmp_path / "new" / "state.pt", weights_only=True)["weights"].tolist() == [0, 1, 2]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "state.pt"
    torch_files.save(torch.zeros(1), target)
    before = target.read_bytes()
    (full := tmp_path / "full").symlink_to("/dev/full")
    monkeypatch.setattr(files, "_aside", lambda target: full)
    with pytest.raises(OSError, match=r"the disk is full: .*state\.pt' was not written") as raised:
        torch_files.save(torch.zeros(1_000_000), target)
    assert raised.value.errno == errno.ENOSPC
    assert target.read_bytes() == before
