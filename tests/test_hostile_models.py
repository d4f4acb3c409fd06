"""Checkpoints that were made to harm run no code; names with HTML, links or escapes are shown as text."""

from __future__ import annotations

import io
import json
import logging
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from run_settings import settings

from dg_project.backbones.weights import read_weights
from dg_project.core.errors import CheckpointError, DataError, DGError, printable
from dg_project.core.weight_headers import read_shapes
from dg_project.figures.contact_sheet import contact_sheet, one_line
from dg_project.hooks.console import _escape
from dg_project.methods import method_class
from dg_project.methods.model_folder import CARD, WEIGHTS, ModelSpec, build_method, load_model, save_model
from dg_project.reports.model_card import card_as_html

HTML = "<img src=x onerror=alert(1)>"


class Runs:
    """Its pickle makes a folder when it is opened."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("owned",)


def one_message(caught: pytest.ExceptionInfo[DGError]) -> None:
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("content", [Runs(), {"state_dict": {"weight": Runs()}}], ids=["alone", "in a dict"])
@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.bin"])
def test_pickled_code_is_not_run(tmp_path: Path, content: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, name)
    with pytest.raises(CheckpointError, match="is not a readable state dict") as caught:
        read_weights(tmp_path / name)
    one_message(caught)
    assert not (tmp_path / "owned").exists()


def test_compressed_weights_are_not_unpacked(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1 << 22)}, tmp_path / "plain.pth")
    assert read_weights(tmp_path / "plain.pth")["weight"].shape == (1 << 22,)
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, \
            zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match="unpacks to"):
        read_weights(tmp_path / "bomb.pth")


def header(entries: dict[str, Any], length: int | None = None, body: bytes = b"\0" * 16) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


FLOATS = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize("content", [
    header({"a": FLOATS}, length=2**63), header({"a": FLOATS}, length=2**40), header({"a": FLOATS}, length=10**7),
    header({"a": {**FLOATS, "shape": [2**40]}}), header({"a": {**FLOATS, "data_offsets": [0, 2**40]}}),
    header({"a": {**FLOATS, "data_offsets": [16, 0]}}), header({"a": {**FLOATS, "shape": [2**63, 2**63]}}),
    header({"a": FLOATS, "b": FLOATS}), header({"a": {**FLOATS, "shape": [-1]}}), header({"a": FLOATS}, body=b""), b"",
    b"\x80\x04\x95",
], ids=range(12))
def test_headers_of_safetensors_that_lie(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for opens in (read_weights, read_shapes):
        with pytest.raises(CheckpointError) as caught:
            opens(path)
        one_message(caught)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of an untrained classifier."""
    folder = tmp_path_factory.mktemp("model")
    spec = ModelSpec.of(method_class("erm"), settings(task="classification"), ["source"])
    save_model(build_method(spec), spec, folder, {"source": "source"})
    return folder


@pytest.mark.parametrize("change", [
    {"method": "os.system"}, {"method": "../../x"}, {"backbone": {"name": "hf-hub:../../x"}}, {"classes": []},
    {"classes": [HTML] * 3}, {"head": {"image_size": [10**9, 10**9], "trust_remote_code": True}}, {"task": "pickle"},
    {"backbone": {"name": "test_resnet", "weights": "/etc/passwd", "more": 1}},
], ids=lambda change: next(iter(change)))
def test_cards_of_models_that_lie(tmp_path: Path, trained: Path, change: dict[str, Any]) -> None:
    card = json.loads((trained / CARD).read_text())
    card["spec"] |= change
    (tmp_path / CARD).write_text(json.dumps(card))
    (tmp_path / WEIGHTS).write_bytes((trained / WEIGHTS).read_bytes())
    with pytest.raises(DGError) as caught:
        load_model(tmp_path)
    one_message(caught)


def test_served_model_refuses_bombs(trained: Path) -> None:
    from dg_project.export.served import COLUMN, Served

    served = Served(trained)
    bomb = io.BytesIO()
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(bomb, "PNG")
    header = bytearray(bomb.getvalue())
    header[16:24] = struct.pack(">II", 200_000, 200_000)
    for cell in (bytes(header), b"%!PS-Adobe-3.0 EPSF-3.0\n", "not base64 \x1b[2J", b"", "/etc/passwd", None, 3):
        with pytest.raises(DataError, match="row 0 of the request is not an image file") as caught:
            served.predict(pd.DataFrame({COLUMN: [cell]}))
        one_message(caught)


def test_names_in_the_card_stay_text() -> None:
    page = card_as_html(f"* classes: {HTML}, ![x](http://evil.example/x.png), [y](javascript:alert(1)), "
                        "<http://evil.example>\n\n| a |\n|---|\n| <script>alert(1)</script> |\n")
    assert "<img" not in page
    assert "<script" not in page
    assert "<a " not in page
    assert "&lt;script&gt;" in page


def test_control_characters_are_escaped() -> None:
    assert printable("grün – 図 'a b'") == "grün – 図 'a b'"
    assert printable("a\x1b[31mb\r\nc\u202ed\ud800\x00") == r"a\x1b[31mb\r\nc\u202ed\ud800\x00"
    assert str(DataError("two problems:\n  one\n  two\x07")) == "two problems:\n  one\n  two\\x07"
    record = logging.LogRecord("x", logging.INFO, "", 0, "table\n%s\tend", ("a\x1b[2J\rb",), None)
    assert _escape(record)
    assert record.getMessage() == "table\na\\x1b[2J\nb\\tend"


def test_contact_sheet_draws_any_name(tiny_manifest: pd.DataFrame, tiny_streets: Path) -> None:
    assert one_line("a\n\x1b[2J") == "a??[2J"
    names = [HTML, "$x_{", "a\nb", "图" * 40, "\\frac", "%s", "{x}"]
    some = tiny_manifest.groupby("domain", sort=False).head(2)
    figure = contact_sheet(some.assign(domain=[f"$d_{k % 2}^<b>" for k in range(len(some))]), tiny_streets, names,
                           (), "detection", images=2)
    figure.savefig(io.BytesIO(), dpi=20)
