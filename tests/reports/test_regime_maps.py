"""Recorded regime maps are copied with the facts of their run and shown in docs/when_it_helps.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick_figures import skip_alignment

from dg_project.reports.results_page import BEGIN, END, README, REGIMES, main

FACTS = {"pipeline": "regime", "run": "v1", "commit": "0123456789abcdef", "dirty": False, "hardware": "2 cores",
         "parameters": {"task": "detection", "training": {"max_steps": 300, "images_per_step": 6}}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which the regime pipeline has run."""
    skip_alignment(monkeypatch)
    for page in (README, REGIMES):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text(f"# Title\n\n{BEGIN}\nold\n{END}\nrest\n")
    gains = {("as_is", "erm"): np.nan, ("as_is", "naive"): 0.1, ("rendered", "erm"): np.nan, ("rendered", "naive"): 0.2}
    table = pd.DataFrame([
        {"quality": quality, "oracle": quality == "rendered", "kept": 1.0, "recognised": 0.5, "distance": np.nan,
         "method": method, "metric": "mAP@50", "seeds": 3, "unseen": 0.3, "unseen_low": 0.2, "unseen_high": 0.4,
         "gain": gain, "gain_low": gain - 0.02, "gain_high": gain + 0.02,
         **dict.fromkeys(["over_naive", "over_naive_low", "over_naive_high"], np.nan)}
        for (quality, method), gain in gains.items()])
    for folder, name, write in (("08_reporting", "regime_table.csv", lambda p: table.to_csv(p, index=False)),
                                ("07_model_output", "regime_facts.json", lambda p: p.write_text(json.dumps(FACTS)))):
        path = tmp_path / "data" / folder / name / "v1" / name
        path.parent.mkdir(parents=True)
        write(path)
    return tmp_path


def test_map_becomes_a_section(project: Path) -> None:
    assert main(["--record", "streets", "--of", "regime", "--title", "Streets"], project) == 0
    page = (project / REGIMES).read_text()
    for text in ("### Streets\n", "Detection, mAP@50, mean over the unseen domains in percent; 3 seeds,\n300 steps",
                 "| rendered (oracle) | 100.0 | 50.0 | – | naive | 30.0 | +20.0 [+18.0, +22.0] | – |",
                 "commit `0123456789ab`, 2 cores", "(images/regime_streets.png)"):
        assert text in page, text
    assert page.endswith(f"{END}\nrest\n")
    assert (project / "docs/images/regime_streets.png").stat().st_size > 10_000
    assert main(["--record", "streets", "--of", "regime"], project) == 0
    assert "### Streets\n" in (project / REGIMES).read_text(), "a title is kept"


def test_map_of_a_run_that_did_not_end_is_refused(project: Path, caplog: Any) -> None:
    newer = project / "data/08_reporting/regime_table.csv/v2/regime_table.csv"
    newer.parent.mkdir()
    newer.write_text("quality\n")
    assert main(["--record", "streets", "--of", "regime"], project) == 1
    assert "the last run did not end" in caplog.text


def test_page_without_maps(project: Path) -> None:
    assert main([], project) == 0
    assert "No map is recorded yet" in (project / REGIMES).read_text()


def test_map_of_another_task_is_not_replaced(project: Path, caplog: Any) -> None:
    assert main(["--record", "streets", "--of", "regime"], project) == 0
    made = project / "data/08_reporting/regime_table.csv/v1/regime_table.csv"
    pd.read_csv(made).assign(metric="accuracy").to_csv(made, index=False)
    assert main(["--record", "streets", "--of", "regime"], project) == 1
    assert "has the metric 'mAP@50', run v1 has 'accuracy'" in caplog.text
