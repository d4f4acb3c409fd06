"""The upper bound: it is marked, it trains on the adapt split, and never on test images."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from dg_project.core.errors import DataError
from dg_project.evaluation.table import benchmark_table, best_unseen, to_markdown
from dg_project.experiments.headroom import labelled_targets
from dg_project.methods import method_classes

STEPS = {"max_steps": 2, "validate_every": 2, "checkpoint_every": 2}


def test_headroom(project: Any) -> None:
    shutil.rmtree(project.root / "data/06_models/tiny_ldm")
    version = project.run("headroom", benchmark={"seeds": [0]}, training=STEPS)
    oracle, source = project.load("oracle_manifest", version), project.load("source_manifest", version)
    assert set(oracle["domain"]) == set(source["domain"])
    assert set(oracle["split"]) == {"train"}
    assert oracle["labels"].map(len).sum() > 0
    assert not set(oracle["sha256"]) & set(project.load("target_manifest", version)["sha256"])
    records = project.load("headroom_records", version)
    assert records.groupby("method")["setting"].unique().map(list).to_dict() == {"erm": ["DG"],
                                                                                 "oracle_target": ["oracle"]}
    table = benchmark_table(records)
    assert best_unseen(table.assign(unseen_mean=[0.1, 0.9])) == "erm", "an oracle is never the best method"
    shown = to_markdown(table)
    assert "| oracle_target ‡ |" in shown
    assert "an upper bound, no method" in shown
    first = oracle["image_id"].str.split("/").str[0]
    with pytest.raises(DataError, match="of the split 'adapt' is also a test image of 'night_clear'"):
        labelled_targets(oracle.assign(domain=first), project.catalog.load("params:settings"))


def test_an_oracle_is_no_method() -> None:
    assert not [name for name in method_classes() if "oracle" in name]
