"""Atomic single-file versions; figures and pages can be loaded."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError, Version
from matplotlib.figure import Figure

from dg_project.datasets.images import ImageFolderDataset
from dg_project.datasets.model import ModelDataset
from dg_project.datasets.pages import FigureDataset, HTMLDataset
from dg_project.datasets.tables import CSVDataset, JSONDataset, ParquetDataset
from dg_project.reports.run_page import finding


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


PAGE = """<html><head><style>p {color: red}</style></head><body><h1>dusk_rain:
  *A* &amp; B</h1><nav><a href="#x">skip</a></nav><section>
<table>
<tr><th scope="col" class="wide">fog</th></tr>
</table><svg><text>skip</text></svg><img src="data:image/png;base64,a_b" alt="a figure"></section>
<section>skip</section><script>skip()</script></body></html>"""


def test_html_preview_is_the_top_of_the_page_without_marks_of_markdown(tmp_path: Path) -> None:
    page = HTMLDataset(filepath=str(tmp_path / "p.html"), version=Version(None, "v1"))
    page.save(PAGE)
    assert page.preview() == ('<html><body><h1>dusk&#95;rain: &#42;A&#42; &amp; B</h1><section><table><tr>'
                              '<th scope="col">fog</th></tr></table><img src="data:image/png;base64,a_b" '
                              'alt="a figure"></section>')


def test_table_preview_rounds_and_leaves_lists_out(tmp_path: Path) -> None:
    table = pd.DataFrame({"image_id": ["a", "b"], "boxes": [[[0.0, 1.0, 2.0, 3.0]], []], "n": [1, 0],
                          "score": [0.6520612089502326, float("nan")], "seen": [True, False]})
    dataset = ParquetDataset(filepath=str(tmp_path / "t.parquet"), version=Version(None, "v1"))
    dataset.save(table)
    preview = json.loads(json.dumps(dataset.preview(nrows=2)))
    assert preview["columns"] == ["image_id", "n", "score", "seen"]
    assert preview["data"] == [["a", 1, 0.652, True], ["b", 0, "", False]]


@pytest.mark.parametrize("kind", [ParquetDataset, CSVDataset, JSONDataset, FigureDataset, HTMLDataset,
                                  ImageFolderDataset, ModelDataset])
def test_previews_before_the_first_run(tmp_path: Path, kind: type) -> None:
    shown = kind(filepath=str(tmp_path / "none"), version=Version(None, None)).preview()
    image = kind in (FigureDataset, ImageFolderDataset)
    assert base64.b64decode(shown).startswith(b"\x89PNG") if image else "not made yet" in str(shown)


def test_the_title_of_a_figure_is_in_its_file(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 1), label="DRSF 35.1, ERM 24.0")
    dataset = FigureDataset(filepath=str(tmp_path / "f.png"), version=Version(None, "v1"))
    dataset.save(figure)
    assert finding(tmp_path / "f.png" / "v1" / "f.png") == "DRSF 35.1, ERM 24.0"
