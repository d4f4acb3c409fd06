"""Sampling: candidates become a gated pseudo manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dg_project.config import GateParams, SamplingParams
from dg_project.core.errors import DataError
from dg_project.core.files import file_hash
from dg_project.data.manifest import COLUMNS, PSEUDO_COLUMNS, SAMPLED_COLUMNS
from dg_project.pseudo.sampling import SELECTION_COLUMNS, sample

Setup = tuple[pd.DataFrame, Path, pd.DataFrame, Path]


@pytest.fixture
def setup(tiny_streets: Path, tiny_manifest: pd.DataFrame, tiny_pseudo: tuple[Path, pd.DataFrame]) -> Setup:
    """Two candidates per image and domain: the generated weather, and one painted grey that lost every object."""
    root, pseudo = tiny_pseudo
    grey = pseudo.assign(candidate=1, image=pseudo["image"].str.replace("_0.png", "_1.png"))
    for row in grey.itertuples():
        Image.fromarray(np.full((row.height, row.width, 3), 128, np.uint8)).save(root / row.image)
    candidates = pd.concat([pseudo, grey], ignore_index=True)[[*COLUMNS, *PSEUDO_COLUMNS]]
    return tiny_manifest[tiny_manifest["role"] == "source"], tiny_streets, candidates, root


def test_sample_one_image_per_source_and_domain(setup: Setup, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    rows = sample(*setup, SamplingParams(style_weight=0, content_weight=1), folder)
    assert not rows.duplicated(["domain", "source_image_id"]).any()
    assert len(rows) == len(setup[2]) // 2
    assert set(rows["candidate"]) == {0}  # the grey one is content's opposite
    assert {*COLUMNS, *PSEUDO_COLUMNS, *SAMPLED_COLUMNS, *SELECTION_COLUMNS} == set(rows.columns)
    assert [file_hash(folder / image) for image in rows["image"]] == rows["sha256"].tolist()
    assert [len(v) for v in rows["visibility"]] == [len(b) for b in rows["boxes"]]
    assert rows["kept"].all()


def test_sample_drops_lost_objects(setup: Setup, tmp_path: Path) -> None:
    source, root, candidates, folder = setup
    lost = (candidates["candidate"] == 1) & (candidates["domain"] == "night")
    mixed = candidates[lost | ((candidates["candidate"] == 0) & (candidates["domain"] == "fog"))]
    rows = sample(source, root, mixed, folder, SamplingParams(), tmp_path / "out")
    dropped = rows[rows["domain"] == "night"]
    assert not dropped["kept"].any()
    assert (dropped["weight"] == 0).all()
    assert dropped["reason"].str.contains("0 of .* boxes still visible").all()
    assert rows.loc[rows["domain"] == "fog", "kept"].all()


def test_sample_nothing_kept_error(setup: Setup, tmp_path: Path) -> None:
    source, root, candidates, folder = setup
    with pytest.raises(DataError, match="the gate dropped every pseudo image"):
        sample(source, root, candidates[candidates["candidate"] == 1], folder, SamplingParams(), tmp_path / "out")


def test_sample_gate_off(setup: Setup, tmp_path: Path) -> None:
    source, root, candidates, folder = setup
    params = SamplingParams(gate=GateParams(enabled=False))
    grey = candidates[candidates["candidate"] == 1]
    assert sample(source, root, grey, folder, params, tmp_path / "out")["kept"].all()


def test_sample_recombined_images(setup: Setup, tmp_path: Path) -> None:
    source, root, candidates, folder = setup
    for row in candidates[candidates["candidate"] == 1].itertuples():  # the source itself, darker
        Image.open(root / source.set_index("image_id")["image"][row.source_image_id]).point(lambda v: v // 2).save(
            folder / row.image)
    params = SamplingParams(recombine=True, gate=GateParams(enabled=False))
    rows = sample(source, root, candidates, folder, params, tmp_path / "out")
    assert not set(rows["sha256"]) & {file_hash(folder / image) for image in candidates["image"]}
    assert all(Image.open(tmp_path / "out" / row.image).size == (row.width, row.height) for row in rows.itertuples())


def test_sample_unknown_source_error(setup: Setup, tmp_path: Path) -> None:
    source, root, candidates, folder = setup
    with pytest.raises(DataError, match="not a source image"):
        sample(source.iloc[:0], root, candidates, folder, SamplingParams(), tmp_path / "out")


def test_sample_keep_all(setup: Setup, tmp_path: Path) -> None:
    source, root, candidates, folder = setup
    params = SamplingParams(keep="all", gate=GateParams(enabled=False))
    rows = sample(source, root, candidates, folder, params, tmp_path / "out")
    assert sorted(rows["sha256"]) == sorted(file_hash(folder / image) for image in candidates["image"])
    assert rows["image"].is_unique
    assert rows["candidates"].sum() == len(candidates)
    assert rows["ldm_seconds"].sum() == pytest.approx(candidates["ldm_seconds"].sum())
