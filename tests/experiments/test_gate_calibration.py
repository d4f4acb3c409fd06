"""The gate's threshold comes from what a source-trained model finds again in pseudo images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figures.cases import street_manifest
from run_settings import settings

from dg_project.config import GateCalibrationParams, SamplingParams
from dg_project.core.errors import DataError, ParameterError
from dg_project.experiments import gate_calibration
from dg_project.experiments.gate_calibration import (
    boxes_found,
    boxes_found_again,
    check_task,
    choose_visibility,
    fitted_share,
)
from dg_project.pipelines.calibrate_gate import nodes


def table(visibility: list[float], found: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"domain": "fog", "image": "a.png", "source_image": "b.png", "label": 1,
                         "box": [[0.0, 0.0, 9.0, 9.0]] * len(found), "visibility": visibility, "found": found})


def test_found_needs_the_class_the_place_and_the_score() -> None:
    truth = {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], "labels": [1, 2, 1, 1]}
    predicted = {"boxes": [[0, 0, 10, 9], [20, 0, 30, 10], [46, 0, 56, 10], [60, 0, 70, 10]],
                 "labels": [1, 1, 1, 1], "scores": [0.9, 0.9, 0.9, 0.4]}
    assert boxes_found(truth, predicted, 0.5).tolist() == [True, False, False, False]
    assert boxes_found(truth, predicted, 0.4).tolist() == [True, False, False, True]
    assert boxes_found(truth, {"boxes": [], "labels": [], "scores": []}, 0.5).tolist() == [False] * 4
    assert boxes_found({"boxes": [], "labels": []}, predicted, 0.5).tolist() == []


def test_threshold_is_where_the_demanded_share_is_found() -> None:
    seen = np.linspace(0, 1, 400)
    boxes = table(seen.tolist(), (np.random.default_rng(0).random(400) < seen).tolist())  # found with probability v
    for share in (0.3, 0.5, 0.7):
        choice = choose_visibility(boxes, share)
        assert choice["found_best"] == pytest.approx(0.9, abs=0.06)  # of the fifth with v from 0.8 to 1
        assert choice["min_visibility"] == pytest.approx(0.9 * share, abs=0.1)
        assert choice["found_below"] < choice["found_demanded"] < choice["found_above"]
    assert fitted_share(boxes)["share"].is_monotonic_increasing


def test_threshold_when_all_or_none_are_found() -> None:
    seen = [0.2, 0.4, 0.6, 0.8]
    every = choose_visibility(table(seen, [True] * 4), 0.5)
    assert (every["min_visibility"], every["boxes_below"], every["found_below"]) == (-1.0, 0, None)
    none = choose_visibility(table(seen, [False] * 4), 0.5)
    assert (none["min_visibility"], none["boxes_below"], none["found_above"]) == (1.0, 4, None)


def test_only_boxes_found_in_the_source_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = street_manifest(tmp_path, 12, {"daytime_clear": (1.0, 0.0)}, role="source", split="train")
    pseudo = source.assign(domain="fog", source_image_id=source["image_id"], image=[f"p{k}.png" for k in range(12)],
                           visibility=[[0.1 * (k + 1) for k in range(len(boxes))] for boxes in source["boxes"]])

    def predictions(_: Path, images: pd.DataFrame, *rest: Any) -> pd.DataFrame:
        # The last box of an image is never found; in the pseudo images, only the boxes of even number are.
        rows = []
        for row in images.to_dict("records"):
            chosen = [k for k in range(len(row["boxes"]) - 1) if row["domain"] != "fog" or k % 2 == 0]
            rows.append({"boxes": [row["boxes"][k] for k in chosen], "labels": [row["labels"][k] for k in chosen],
                         "scores": [0.9] * len(chosen)})
        return pd.DataFrame(rows)

    monkeypatch.setattr(gate_calibration, "predict_once", predictions)
    monkeypatch.setattr(gate_calibration, "read_card", lambda _: (SimpleNamespace(task="detection"), {}))
    found = boxes_found_again(Path("model"), source, pseudo, tmp_path, settings(), GateCalibrationParams())
    hidden = sum(len(row) - 1 - bool(hard[0]) for row, hard in zip(source["boxes"], source["difficult"], strict=True))
    assert len(found) == hidden
    assert found["found"].tolist() == [round(v * 10) % 2 == 1 for v in found["visibility"]]
    with pytest.raises(DataError, match="too few to calibrate the gate"):
        boxes_found_again(Path("model"), source.head(2), pseudo.head(2), tmp_path, settings(), GateCalibrationParams())


def test_gate_needs_a_detector() -> None:
    with pytest.raises(ParameterError, match="calibrated with a detector, but the task is 'segmentation'"):
        check_task("segmentation")


def test_chart_and_sheet(tmp_path: Path) -> None:
    source = street_manifest(tmp_path, 2, {"daytime_clear": (1.0, 0.0), "fog": (0.5, 0.5)})
    clear, fog = (source.loc[source["domain"] == name, "image"].tolist() for name in ("daytime_clear", "fog"))
    seen = np.linspace(0.05, 0.95, 40)
    boxes = table(seen.tolist(), (seen > 0.4).tolist()).assign(image=fog[0], source_image=clear[0])
    choice = nodes.choose(boxes, GateCalibrationParams(), SamplingParams())
    assert choice["min_visibility"] == pytest.approx(0.4, abs=0.03)
    chart = nodes.draw_chart(boxes, choice, SamplingParams())
    sheet = nodes.draw_sheet(boxes, choice, settings(data__root=str(tmp_path)).data, tmp_path)
    assert "visibility below 0.4" in chart.texts[0].get_text() + chart.texts[-1].get_text()
    assert len(sheet.axes) == 64
    chart.savefig(tmp_path / "chart.png")
    sheet.savefig(tmp_path / "sheet.png")
