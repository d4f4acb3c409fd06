"""The domain-robustness card: every number from the records it was given."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from evaluation.helpers import records

from dg_project.reports.model_card import ModelFacts, card_as_html, model_card

SPEC = {"method": "drsf", "task": "detection", "backbone": {"name": "resnet"}, "head": {"image_size": [64, 96]},
        "classes": ["car", "bus"], "domains": ["daytime_clear", "fog"]}
TRAINED = {"source": "daytime_clear", "seed": 3, "selection": "source_val", "step": 200, "score": 0.7, "max_steps": 300,
           "images_per_step": 6, "seconds_per_step": 0.5, "images_generated": 640}
DATA = {"splits": [{"domain": "daytime_clear", "split": "train", "images": 320},
                   {"domain": "daytime_clear", "split": "val", "images": 80}]}


def card(name: str = "drsf", **trained: Any) -> str:
    rows = records({"erm": {3: {"daytime_clear": 0.8, "night_clear": 0.3}},
                    name: {3: {"daytime_clear": 0.8, "night_clear": 0.4}}})
    rows = rows.assign(low=rows["value"] - 0.05, high=rows["value"] + 0.05)
    rows.loc[rows["domain"] == "unseen_mean", ["low", "high"]] = float("nan")
    return model_card(rows, ModelFacts(SPEC, TRAINED | trained, "0123", "2026", DATA, ["Rendered <b>images</b>."],
                                       "erm"))


def test_card_has_scores_drops_and_unseen_domains() -> None:
    text = card()
    assert "| night clear | 40.0 | 35.0 to 45.0 | 50 % | +10.0 |" in text
    assert "| daytime clear (source) | 80.0 | 75.0 to 85.0 | – | +0.0 |" in text
    assert "| unseen mean | 40.0 | – | 50 % |" in text
    assert "320 training images, 80 validation images" in text
    assert "**Pseudo domains** fog: generated from source images by a diffusion model, 640 images generated" in text
    assert "the model of step 200, where the source's validation images score 70.0" in text
    assert "* `night_clear`: " in text.split("## What it never saw")[1]
    assert "\n\n\n" not in text


def test_card_names_the_generator() -> None:
    assert "fog: generated from source images by photometric corruptions, 640 images" in card(generator="corruptions")


def test_adapted_targets_are_named() -> None:
    text = card(images_adapted_to=12)
    assert "**Unlabelled target images**, 12 of night_clear: adaptation" in text
    assert "other images of it took part in the training" in text.split("## What it never saw")[1]


def test_label_may_differ_from_method() -> None:
    assert "| night clear | 40.0 | 35.0 to 45.0 | 50 % | +10.0 |" in card("drsf_closed_loop", label="drsf_closed_loop")


def test_card_as_html_is_escaped() -> None:
    page = card_as_html(card())
    assert "<h2>Domain-robustness card: DRSF, detection</h2>" in page
    assert page.count('<div class="scroll"><table>') == 1
    assert "<b>images" not in page
    assert "<td>40.0</td>" in page


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_no_drop_without_source_score(value: float) -> None:
    rows = records({"drsf": {0: {"daytime_clear": value, "night_clear": 0.4}}})
    rows = rows.assign(low=float("nan"), high=float("nan"))
    text = model_card(rows, ModelFacts(SPEC, TRAINED | {"score": None}, "0", "1", DATA, []))
    assert "| night clear | 40.0 | – | – |" in text
    assert isinstance(rows, pd.DataFrame)


def test_classes_that_a_domain_lacks_are_named() -> None:
    rows = records({"drsf": {3: {"daytime_clear": 0.8, "night_clear": 0.4}}}).assign(low=0.3, high=0.5)
    rows["classes_scored"] = ["2 of 2", "1 of 2 (no bus)", ""]
    text = model_card(rows, ModelFacts(SPEC, TRAINED, "0123", "2026", DATA, [], None))
    assert "\n\nA class without labels in a domain is left out of its score; classes scored: night_clear 1 of 2" in text
    assert "\n\n\n" not in text
