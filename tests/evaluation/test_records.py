"""Records, statistics over seeds and the benchmark table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import WEATHERS, bootstrap_boxes, random_case, records, score_detections
from scipy import stats

from dg_project.core.errors import DataError
from dg_project.evaluation.intervals import paired_test, t_interval
from dg_project.evaluation.records import RECORD_COLUMNS, RunFacts, check_records, result_records, with_intervals
from dg_project.evaluation.table import benchmark_table, table_domains, to_markdown

FACTS = RunFacts("drsf", "daytime_clear", 3, "source_val", 0.57, "2026-01-01", images_generated=640, peak_memory_mb=900)


def test_records_have_source_targets_and_mean():
    manifest, predictions = random_case(2, n_images=6, domains=tuple(WEATHERS))
    scores = score_detections(predictions, manifest, ["a", "b"])
    rows = result_records(scores, FACTS)
    assert list(rows.columns)[:12] == list(RECORD_COLUMNS)
    assert len(rows) == 2 * 6
    assert set(rows["metric"]) == {"mAP@50", "mAP"}
    part = rows[rows["metric"] == "mAP@50"].set_index("domain")
    assert part["role"].tolist() == ["source"] + ["target"] * 5
    assert part.loc["unseen_mean", "value"] == pytest.approx(part.loc[WEATHERS[1:], "value"].mean())
    assert part.loc["unseen_mean", "n_images"] == 24
    assert (part["seed"] == 3).all()
    drawn = bootstrap_boxes({"drsf": predictions}, manifest, ["a", "b"], resamples=20)
    with_bounds = with_intervals(rows, drawn.intervals())
    assert with_bounds.loc[with_bounds["metric"] == "mAP@50", "low"].notna().all()
    assert with_bounds.loc[with_bounds["metric"] == "mAP", "low"].isna().all()


def test_records_without_source_or_targets_raise():
    manifest, predictions = random_case(2, domains=("night", "fog"))
    with pytest.raises(DataError, match=r"data\.source"):
        result_records(score_detections(predictions, manifest, ["a", "b"]), FACTS)


def test_check_records_names_the_problem():
    rows = records({"erm": {0: {"daytime_clear": 0.7, "fog": 0.5}}})
    assert check_records(rows) is rows
    with pytest.raises(DataError, match="'selection'"):
        check_records(rows.drop(columns="selection"))
    with pytest.raises(DataError, match="'erm' has several records with seed 0"):
        check_records(pd.concat([rows, rows]))


def test_t_interval_equals_the_formula():
    interval = t_interval([0.1, 0.2, 0.4])
    half = 4.302652729911275 * np.std([0.1, 0.2, 0.4], ddof=1) / math.sqrt(3)  # t quantile .975, two degrees
    assert interval.mean == pytest.approx(0.7 / 3)
    assert interval.high - interval.mean == pytest.approx(half)
    assert interval.n == 3
    assert math.isnan(t_interval([0.5]).low)
    assert t_interval([0.5]).mean == 0.5


def test_paired_test_equals_scipy_and_is_paired():
    x, y = [0.50, 0.61, 0.72, 0.40], [0.45, 0.57, 0.66, 0.37]
    paired = paired_test(x, y)
    assert paired.p_t == pytest.approx(stats.ttest_rel(x, y).pvalue)
    assert paired.p_wilcoxon == pytest.approx(0.125)
    assert paired.low > 0
    assert stats.ttest_ind(x, y).pvalue > 0.5
    assert paired_test([0.5, 0.6], [0.5, 0.6]).p_t == 1
    assert math.isnan(paired_test([0.5], [0.4]).p_t)
    assert paired_test([0.5], [0.4]).difference == pytest.approx(0.1)


VALUES = {"drsf": {s: {"daytime_clear": 0.70, "fog": 0.60 + s / 100, "night": 0.50} for s in (0, 1, 2)},
          "erm": {s: {"daytime_clear": 0.71, "fog": 0.55, "night": 0.45 + s / 50} for s in (0, 1, 2, 3)}}


def test_benchmark_table_pairs_by_seed():
    table = benchmark_table(records(VALUES))
    assert list(table.index) == ["erm", "drsf"]
    assert table_domains(table) == ["daytime_clear", "fog", "night", "unseen_mean"]
    gains = [(0.60 + s / 100 + 0.50) / 2 - (0.55 + 0.45 + s / 50) / 2 for s in (0, 1, 2)]
    row = table.loc["drsf"]
    assert row["gain"] == pytest.approx(np.mean(gains))
    assert row["gain_n"] == 3
    assert row["n_seeds"] == 3
    assert row["gain_p_t"] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert math.isnan(table.loc["erm", "gain"])
    text = to_markdown(table)
    assert text.count("\n| drsf | ") == 2  # scores and costs
    assert "source_val" in text
    assert "70.0 ± 0.0" in text


def test_benchmark_table_raises():
    rows = records(VALUES)
    with pytest.raises(DataError, match="Did you mean 'erm'"):
        benchmark_table(rows, baseline="ermm")
    mixed = rows.assign(selection=np.where(rows["seed"] == 0, "last", "source_val"))
    with pytest.raises(DataError, match="mixes the selection rules"):
        benchmark_table(mixed)


def test_missing_domain_is_shown_as_not_run():
    values = {**VALUES, "naive": {0: {"daytime_clear": 0.7, "fog": 0.5}}}
    assert "not run" in to_markdown(benchmark_table(records(values)))
