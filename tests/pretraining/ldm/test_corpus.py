"""The corpus reader, the hold-out, box weights and crops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dg_project.core.errors import DataError
from dg_project.pretraining.ldm.corpus import Group, box_weights, crop_corner, hold_out, read_corpus


def test_read_corpus_groups(corpus: Path) -> None:
    groups = read_corpus(corpus)
    assert [g.name for g in groups] == [f"s{i:04d}_c0" for i in range(4)]
    assert groups[0].clear.shape == (3, 32, 48)
    assert groups[0].weathers.shape == (2, 3, 32, 48)
    assert groups[0].captions[0] == "a city street on a clear sunny day"
    assert groups[0].captions[1] == "a city street at night, clear sky"
    assert groups[0].weathers[0].float().mean() < 60 < groups[0].clear.float().mean()
    assert groups[0].labels == ["car"]
    assert groups[0].boxes.shape == (1, 4)


def test_hold_out_last_groups(corpus: Path) -> None:
    train, held = hold_out(read_corpus(corpus), 0.25)
    assert [g.name for g in held] == ["s0003_c0"]
    assert len(train) == 3


def test_read_corpus_missing_files_error(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"captions\.csv"):
        read_corpus(tmp_path / "nowhere")
    (corpus / "s0001_c0/w0.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"s0001_c0/w0\.jpg"):
        read_corpus(corpus)


def group(boxes: list[list[float]]) -> Group:
    return Group(
        "g",
        torch.zeros(3, 16, 24, dtype=torch.uint8),
        torch.zeros(1, 3, 16, 24, dtype=torch.uint8),
        ["", ""],
        torch.tensor(boxes).reshape(-1, 4),
    )


def test_box_weights() -> None:
    weights = box_weights(group([[5.0, 4.0, 12.0, 9.0]]), 4, 3.0)
    expected = torch.ones(4, 6)
    expected[1:3, 1:3] = 3
    assert torch.equal(weights, expected)
    assert torch.equal(box_weights(group([]), 4, 3.0), torch.ones(4, 6))


def test_crop_corner() -> None:
    boxes, generator = torch.tensor([[40.0, 20.0, 50.0, 28.0]]), torch.Generator().manual_seed(0)
    corners = [crop_corner(boxes, (96, 160), (32, 32), 4, generator) for _ in range(300)]
    assert all(0 <= y <= 64 and 0 <= x <= 128 and y % 4 == 0 and x % 4 == 0 for y, x in corners)
    hits = sum(y <= 26 <= y + 32 and x <= 47 <= x + 32 for y, x in corners) / 300
    assert 0.65 < hits < 0.9, "70 % aim at the box, some others hit it by chance"
    assert len(set(corners)) > 50
    assert {crop_corner(boxes, (96, 160), (96, 160), 4, generator) for _ in range(5)} == {(0, 0)}
