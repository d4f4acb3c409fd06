"""Qualities of pseudo images: each is trained on, scored and measured; what does not depend on them is trained once."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dg_project.config import RegimeParams
from dg_project.core.errors import DataError
from dg_project.evaluation.regime import regime_table, to_markdown

REMOVED: dict[str, Any] = dict.fromkeys(["fog", "dusk_rain", "night", "night_rain"])


def light(severity: float) -> dict[str, Any]:
    domains = {**REMOVED, "light": {"corruptions": ["gamma", "darkness"], "severity": severity}}
    return {"params": {"synthesis": {"generator": "corruptions", "candidates": 1, "domains": domains}}}


CHOSEN = {"methods": ["erm", "naive"], "seeds": [0], "reference": ["data/01_raw/streets/*/VOC2007/JPEGImages/*.jpg"],
          "qualities": dict.fromkeys(("wrong_words", "coarse", "weak", "corruptions", "as_is"))
          | {"mild": light(0.2), "strong": light(0.9)}}
WITHOUT_LDM = light(0.5)["params"]["synthesis"]
STEPS = {"max_steps": 2, "validate_every": 2, "checkpoint_every": 2}


def test_regime(project: Any) -> None:
    shutil.rmtree(project.root / "data/06_models/tiny_ldm")
    with pytest.raises(DataError, match=r"regime\.reference: 'none/\*\.jpg' names no image"):
        project.run("regime", regime={**CHOSEN, "reference": ["none/*.jpg"]}, synthesis=WITHOUT_LDM)
    version = project.run("regime", task="classification", training=STEPS, regime=CHOSEN, synthesis=WITHOUT_LDM)
    records, table = project.load("regime_records", version), project.load("regime_table", version)
    assert records.groupby(["quality", "method"]).size().unstack().notna().all().all()
    assert len(list((project.root / "data/smoke/.workspace/training").iterdir())) == 3, "ERM is trained once"
    assert set(table["quality"]) == {"mild", "strong"}
    assert table["recognised"].is_monotonic_increasing or table["recognised"].isna().any()
    measures = project.load("regime_qualities", version).set_index("quality")
    assert measures["kept"].between(0, 1).all()
    assert np.isfinite(measures["distance"]).all()
    assert measures.loc["mild", "distance"] < measures.loc["strong", "distance"]
    assert (project.root / "data/smoke/08_reporting/regime_chart.png").is_dir()
    facts = project.load("regime_facts", version)
    assert (facts["run"], facts["cells"]) == (version, 4)


def test_oracles_are_marked_and_the_least_recognised_comes_first() -> None:
    rows = [{"quality": quality, "method": method, "task": "detection", "source": "day", "domain": domain,
             "role": "target", "seed": seed, "selection": "source_val", "metric": "mAP@50",
             "value": value + 0.01 * seed, "n_images": 10, "seconds_per_step": 1.0, "kedro_version_id": "v"}
            for quality, lift in (("rendered", 0.2), ("poor", -0.1)) for method, gain in (("erm", 0), ("naive", lift))
            for seed in (0, 1) for domain in ("night", "unseen_mean") for value in (0.3 + gain,)]
    qualities = pd.DataFrame({"quality": ["rendered", "poor"], "oracle": [True, False], "kept": [1.0, 0.5],
                              "recognised": [0.9, 0.2], "distance": [0.01, np.nan]})
    table = regime_table(pd.DataFrame(rows), qualities, "detection", 0.95)
    assert table["quality"].tolist() == ["poor", "poor", "rendered", "rendered"]
    assert table.loc[table["method"] == "naive", "gain"].round(6).tolist() == [-0.1, 0.2]
    lines = to_markdown(table).splitlines()
    assert lines[2].startswith("| poor | 50.0 | 20.0 | – | erm | 30.5 | – |")
    assert lines[5].startswith("| rendered (oracle) | 100.0 | 90.0 | 0.010 | naive | 50.5 | +20.0")


@pytest.mark.parametrize(("given", "message"), [
    ({"qualities": {"a": {"params": {"training": {}}}}}, "a quality changes synthesis, ldm, sampling, not 'training'"),
    ({"methods": ["naive", "drsf"]}, "gains are taken against 'erm', which is missing")])
def test_wrong_regime(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegimeParams.model_validate(given)


def test_qualities_are_checked_before_the_run(project: Any) -> None:
    wrong = {"qualities": {**CHOSEN["qualities"], "elsewhere": {"params": {"synthesis": {
        "generator": "folder", "candidates": 1, "domains": {**REMOVED, "x": {"images": "data/nowhere"}}}}}}}
    with pytest.raises(DataError, match=r"synthesis\.domains\.x\.images: the folder .* does not exist"):
        project.run("regime", regime={**CHOSEN, **wrong})
