"""The diffusion model and the pseudo domains of a fold: which model is taken, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dg_project.config import LDMParams, PseudoDomain
from dg_project.core.errors import CheckpointError
from dg_project.diffusion.origin import Origin
from dg_project.experiments.fold_generation import evenly, fold_domains, fold_ldm


def model(folder: Path, seen: list[str] | None) -> Path:
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    if seen is not None:
        Origin(seen, "sketch", ["dog"], ["a {domain} of a {class}"]).write(folder)
    return folder


def chosen(checkpoint: Path, held_out: str = "sketch") -> str:
    return fold_ldm(LDMParams(checkpoint=str(checkpoint)), held_out, "/data/PACS").checkpoint


def test_fold_takes_its_own_model(tmp_path: Path) -> None:
    folder = model(tmp_path / "ldms/sketch", ["photo", "cartoon"])
    assert chosen(tmp_path / "ldms/{held_out}") == str(folder)


def test_fold_takes_the_newest_version(tmp_path: Path) -> None:
    model(tmp_path / "ldms/2024-01-01T00.00.00.000Z/ldms/sketch", ["photo", "cartoon"])
    newest = model(tmp_path / "ldms/2024-02-01T00.00.00.000Z/ldms/sketch", ["photo", "cartoon"])
    model(tmp_path / "ldms/2024-03-01T00.00.00.000Z/ldms/photo", ["cartoon", "sketch"])
    assert chosen(tmp_path / "ldms/{held_out}") == str(newest)


def test_missing_model_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"leaves 'sketch' out: .*kedro run --pipeline=pretrain_folder_ldm "
                                              r"--params data.root=/data/PACS,pretrain_folder_ldm.held_out=sketch"):
        chosen(tmp_path / "ldms/{held_out}")


def test_model_that_saw_the_held_out_domain_is_refused(tmp_path: Path) -> None:
    model(tmp_path / "ldms/sketch", ["photo", "sketch"])
    for checkpoint in (tmp_path / "ldms/{held_out}", tmp_path / "ldms/sketch"):
        with pytest.raises(CheckpointError, match=r"was trained on 'sketch', the domain that this fold leaves out"):
            chosen(checkpoint)
    assert chosen(tmp_path / "ldms/sketch", "cartoon"), "a fold that leaves another domain out may use it"


def test_model_that_says_nothing(tmp_path: Path) -> None:
    folder = model(tmp_path / "ldms/sketch", None)
    with pytest.raises(CheckpointError, match="does not say which domains it has seen"):
        chosen(tmp_path / "ldms/{held_out}")
    assert chosen(folder) == str(folder), "Stable Diffusion, for example"
    assert fold_ldm(LDMParams(checkpoint="owner/name"), "sketch", "r").checkpoint == "owner/name"


def test_one_pseudo_domain_per_source() -> None:
    domains = {"as": PseudoDomain(prompt="a {source} of a {class}", strength=0.5), "fog": PseudoDomain(prompt="fog")}
    found = fold_domains(domains, ["photo", "art_painting"])
    assert {name: domain.prompt for name, domain in found.items()} == {
        "as_photo": "a photo of a {class}", "as_art_painting": "an art painting of a {class}", "fog": "fog"}
    assert {domain.strength for name, domain in found.items() if name != "fog"} == {0.5}


def test_even_order_of_rows() -> None:
    rows = pd.DataFrame({"domain": ["a"] * 6 + ["b"] * 3, "image_id": [str(i) for i in range(9)]})
    found = evenly(rows, 0)
    assert found["domain"].head(6).value_counts().to_dict() == {"a": 3, "b": 3}
    assert sorted(found["image_id"]) == sorted(rows["image_id"])
    assert found.equals(evenly(rows.sample(frac=1, random_state=1), 0)), "it does not depend on the order before"
    assert not found.equals(evenly(rows, 1))
