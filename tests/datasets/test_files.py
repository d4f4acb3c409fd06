"""Atomic single-file versions; figures and pages can be loaded."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError, Version
from matplotlib.figure import Figure

from dg_project.datasets.pages import FigureDataset, HTMLDataset
from dg_project.datasets.tables import CSVDataset, JSONDataset, ParquetDataset


def test_parquet_boxes_roundtrip(tmp_path: Path) -> None:
    table = pd.DataFrame({"image_id": ["a", "b"], "boxes": [[[0.0, 1.0, 2.0, 3.0]], []]})
    ParquetDataset(filepath=str(tmp_path / "t.parquet"), version=Version(None, "v1")).save(table)
    loaded = ParquetDataset(filepath=str(tmp_path / "t.parquet"), version=Version(None, None)).load()
    assert [[list(box) for box in row] for row in loaded["boxes"]] == [[[0.0, 1.0, 2.0, 3.0]], []]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["t.parquet"]


@pytest.mark.parametrize("kind", [ParquetDataset, CSVDataset])
def test_file_error_leaves_no_version(tmp_path: Path, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: pd.DataFrame, *args: object, **kwargs: object) -> None:
        raise OSError("the power went")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", half)
    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    table = kind(filepath=str(tmp_path / "t"), version=Version(None, "v1"))
    with pytest.raises(DatasetError, match="the power went"):
        table.save(pd.DataFrame({"a": [1]}))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert not kind(filepath=str(tmp_path / "t"), version=Version(None, None)).exists()


def test_version_not_overwritten(tmp_path: Path) -> None:
    JSONDataset(filepath=str(tmp_path / "t.json"), version=Version(None, "v1")).save({"a": 1})
    with pytest.raises(DatasetError, match="must not exist"):
        JSONDataset(filepath=str(tmp_path / "t.json"), version=Version(None, "v1")).save({"a": 2})


def test_figure_loads_path(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    FigureDataset(filepath=str(tmp_path / "f.png"), version=Version(None, "v1")).save(figure)
    path = FigureDataset(filepath=str(tmp_path / "f.png"), version=Version(None, None)).load()
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 1


def test_html_preview(tmp_path: Path) -> None:
    page = HTMLDataset(filepath=str(tmp_path / "p.html"), version=Version(None, "v1"))
    page.save("<p>hello</p>")
    assert page.preview() == "<p>hello</p>"


def test_table_preview(tmp_path: Path) -> None:
    import json

    table = pd.DataFrame({"image_id": ["a", "b"], "boxes": [[[0.0, 1.0, 2.0, 3.0]], []], "n": [1, 0]})
    dataset = ParquetDataset(filepath=str(tmp_path / "t.parquet"), version=Version(None, "v1"))
    dataset.save(table)
    preview = json.loads(json.dumps(dataset.preview(nrows=1)))
    assert preview["columns"] == ["image_id", "boxes", "n"]
    assert preview["data"] == [["a", "[[0.0, 1.0, 2.0, 3.0]]", 1]]
