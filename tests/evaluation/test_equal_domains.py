"""Gains over naive mixing of the same pseudo domains."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from evaluation.helpers import records

from dg_project.evaluation.table import display_equal_domains, gains_at_equal_domains

NIGHT = {"domains": ["night"]}
CHANGES = {"erm": {}, "naive": {}, "drsf": {}, "k1": {"method": "drsf", **NIGHT},
           "naive_k1": {"method": "naive", **NIGHT}, "stage_2": {"method": "drsf", "drsf": {"stage": 2}, **NIGHT},
           "alone": {"method": "drsf", "domains": ["fog"]}}
FOG = {"erm": [0.1, 0.2], "naive": [0.3, 0.4], "drsf": [0.31, 0.43], "k1": [0.25, 0.35], "naive_k1": [0.2, 0.28],
       "stage_2": [0.5, 0.5], "alone": [0.4, 0.4]}


@pytest.fixture
def grid() -> pd.DataFrame:
    rows = records({name: {seed: {"daytime_clear": 0.7, "fog": value} for seed, value in enumerate(values)}
                    for name, values in FOG.items()})
    return rows.assign(overrides=[json.dumps(CHANGES[name]) for name in rows["method"]],
                       images_generated=[0 if name == "erm" else 8 for name in rows["method"]])


def test_rows_are_compared_at_equal_domains(grid: pd.DataFrame) -> None:
    table = gains_at_equal_domains(grid, metric="mAP@50")
    assert table[["domains", "method"]].to_numpy().tolist() == [["night", "drsf"], ["all", "drsf"]]
    assert table["gain"].tolist() == pytest.approx([0.06, 0.02])  # stage_2 changes more
    assert table["unseen"].tolist() == pytest.approx([0.3, 0.37])
    assert table["reference_unseen"].tolist() == pytest.approx([0.24, 0.35])
    shown = display_equal_domains(table)
    assert shown.loc["night", "gain over naive"].startswith("+6.0 [")
    assert shown.loc["night", "source: method"] == "70.0"


def test_only_common_seeds_are_compared(grid: pd.DataFrame) -> None:
    fewer = grid[~((grid["method"] == "naive_k1") & (grid["seed"] == 1))]
    assert gains_at_equal_domains(fewer, metric="mAP@50")["gain"].tolist() == pytest.approx([0.05, 0.02])


def test_single_choice_of_domains_gives_no_rows(grid: pd.DataFrame) -> None:
    plain = grid[grid["method"].isin(["erm", "naive", "drsf"])]
    assert gains_at_equal_domains(plain, metric="mAP@50").empty
    assert gains_at_equal_domains(plain.drop(columns="overrides"), metric="mAP@50").empty
