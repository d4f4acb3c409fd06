"""A run ends with its result in words that the intervals allow, and with what to do next."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from dg_project.hooks.summary import SummaryHook
from dg_project.reports.run_summary import summary_table, verdict

DOMAINS = ["daytime_clear", "night_rainy", "unseen_mean"]


def gains(over: dict[str, tuple[float, float, float]]) -> pd.DataFrame:
    return pd.DataFrame([{"method": "drsf", "domain": domain, "metric": "mAP@50", "over": name, "difference": gain,
                          "low": low, "high": high}
                         for name, (gain, low, high) in over.items() for domain in DOMAINS])


def intervals() -> pd.DataFrame:
    return pd.DataFrame([{"method": name, "domain": domain, "metric": "mAP@50", "value": value}
                         for name, value in (("erm", 0.24), ("naive", 0.345), ("drsf", 0.351)) for domain in DOMAINS])


def test_verdict_says_ahead_only_above_zero() -> None:
    told = verdict(gains({"erm": (0.11, 0.096, 0.125), "naive": (0.006, -0.005, 0.013),
                          "mixstyle": (-0.03, -0.05, -0.01)}))
    assert told == ("DRSF on unseen domains: ahead of ERM by +11.0 [+9.6, +12.5], level with naive "
                    "(+0.6 [-0.5, +1.3]), behind MixStyle by -3.0 [-5.0, -1.0].")
    assert verdict(pd.DataFrame(columns=["method", "domain", "metric", "over", "difference", "low", "high"])) == ""


def test_table_fits_80_columns() -> None:
    lines = summary_table(intervals(), gains({"erm": (0.11, 0.096, 0.125), "naive": (0.006, -0.005, 0.013)}))
    assert lines[0].split() == ["mAP@50,", "percent", "ERM", "naive", "DRSF", "DRSF", "-", "ERM", "[95", "%]"]
    assert lines[3] == "unseen mean                   24.0    34.5    35.1  +11.0 [+9.6, +12.5]"
    assert max(map(len, lines)) <= 80


def test_table_of_one_model() -> None:
    alone = intervals().query("method == 'erm'")
    lines = summary_table(alone, gains({}).reindex(columns=["method", "over", "metric", "domain"]))
    assert lines[1] == "daytime clear                 24.0"


class Catalog:
    """Loads tables and knows where files are."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def load(self, name: str) -> pd.DataFrame:
        return {"intervals": intervals(), "gains": gains({"erm": (0.11, 0.096, 0.125)})}[name]

    def get(self, name: str) -> Any:
        path = {"report": "data/08_reporting/report.html/v1/report.html",
                "model": "data/06_models/model/v1/model"}[name]
        return SimpleNamespace(_get_load_path=lambda: self.root / path)


def test_end_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "data/08_reporting/report.html/v1/report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<p>the report")
    outputs = {"intervals", "gains", "report", "model"}
    SummaryHook().after_pipeline_run(SimpleNamespace(all_outputs=lambda: outputs), Catalog(tmp_path))
    said = capsys.readouterr().out
    for text in ("unseen mean", "ahead of ERM by +11.0 [+9.6, +12.5]", "report   data/08_reporting/latest.html",
                 "model    data/06_models/model/v1/model", "try it   dg_project predict /path/to/images",
                 "make mlflow"):
        assert text in said, text
    assert (tmp_path / "data/08_reporting/latest.html").read_text() == "<p>the report"
    SummaryHook().after_pipeline_run(SimpleNamespace(all_outputs=lambda: {"model"}), Catalog(tmp_path))
    assert capsys.readouterr().out == ""
