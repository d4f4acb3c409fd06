"""The report is one self-contained, escaped HTML file with the given numbers."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import records
from PIL import Image

from dg_project.figures.style import new_figure
from dg_project.reports.run_page import Picture, Report, Scene, embed_figure, render_report

DOMAINS = {"daytime_clear": 0.712, "night_clear": 0.433, "daytime_foggy": 0.571}
CARD = {"classes": ["car", "person"], "skipped": ["night_clear/7.jpg: no such file"], "warnings": ["a < b"],
        "left_aside": [],
        "splits": [{"domain": "daytime_clear", "role": "source", "split": "train", "images": 1320, "boxes": 7,
                    "difficult": 0, "masks": 0, "instances": 0, "boxes_per_class": {"car": 7, "person": 0},
                    "ignored_per_class": {}, "sizes": {"320x192": 1319, "64x64": 1}, "box_side": [5.0, 12.4, 40.0]}]}


def picture(photo: bool = False, **changes: Any) -> Picture:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.imshow(np.random.default_rng(0).random((400, 400, 3))) if photo else axes.plot([0, 1])
    return Picture("Losses & more", figure, "two lines", **changes)


def differences(gain: float = 0.05, low: float = 0.01, high: float = 0.08) -> pd.DataFrame:
    return pd.DataFrame([{"method": "drsf", "domain": d, "metric": "mAP@50", "over": "erm", "difference": gain,
                          "low": low, "high": high} for d in [*DOMAINS, "unseen_mean"]])


def make_report(**changes: Any) -> Report:
    rows = records({"erm": {0: DOMAINS}, "drsf": {0: {d: v + 0.05 for d, v in DOMAINS.items()}}})
    rows = rows.assign(low=rows["value"] - 0.03, high=rows["value"] + 0.03)
    given = {"title": "A run <script>alert(1)</script>", "summary": "ERM & DRSF", "facts": ["seed 0"],
             "records": rows, "differences": differences(),
             "interval_note": "95 % bootstrap interval, 80 scenes.", "data_card": CARD, "pictures": [picture()],
             "per_class": {"DRSF": pd.DataFrame({"car": [0.5, np.nan]}, index=["night_clear", "daytime_foggy"])},
             "parameters": {"training": {"max_steps": 300}}, "origin": {"torch": "2.15"},
             "limits": ["Rendered images."]}
    return Report(**{**given, **changes})


class Checker(HTMLParser):
    """Collects every attribute that could fetch something, and checks that tags nest."""

    void = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key in {"src", "href", "srcset", "data", "action", "poster"}]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def scenes(tmp_path) -> list[Scene]:
    """Two domains with two views, confusion matrices (with background) and precision-recall curves."""
    Image.new("RGB", (96, 60), "red").save(tmp_path / "view.webp")
    errors = {name: {"confusion": [[3, 1, 0], [0, 2, 2], [0, 5, 0]], "precision": [1.0, 0.5, 0.0]}
              for name in ("erm", "drsf")}
    views = [("erm", tmp_path / "view.webp", "1 of 2 found, 3 false"), ("drsf", tmp_path / "view.webp", "2 of 2 found")]
    return [Scene(domain, views, errors) for domain in ("daytime_clear", "night_clear")]


def test_page_is_self_contained(tmp_path):
    page = render_report(make_report(scenes=scenes(tmp_path), classes=["car", "person"]))
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len([link for link in checker.links if link.startswith("data:image/")]) == 5
    assert all(link.startswith("data:image/") or f'id="{link[1:]}"' in page for link in checker.links)
    assert not re.search(r"https?://|url\(|@import|<script ", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_text_is_escaped():
    page = render_report(make_report())
    assert "A run &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Losses &amp; more" in page
    assert "a &lt; b" in page


@pytest.mark.parametrize(("gain", "low", "high", "heading", "kind"), [
    (0.11, 0.096, 0.125, "ahead of ERM by +11.0 [+9.6, +12.5]", "ahead"),
    (0.004, -0.005, 0.013, "level with ERM (+0.4 [-0.5, +1.3])", "level"),
    (-0.03, -0.05, -0.01, "behind ERM by -3.0 [-5.0, -1.0]", "behind"),
])
def test_verdict_and_number_come_first(gain, low, high, heading, kind):
    page = render_report(make_report(differences=differences(gain, low, high)))
    assert f"<h1>DRSF on unseen domains: {heading}.</h1>" in page
    assert f'<p class="big {kind}">{100 * gain:+.1f}</p>' in page
    assert ("the interval holds 0: level" in page) == (kind == "level")
    assert page.index("<h1>") < page.index('class="chips"') < page.index("<table")


def test_one_model_has_its_score_as_the_number():
    rows = make_report().records.query("method == 'erm'")
    page = render_report(make_report(title="ERM", records=rows, differences=differences().iloc[:0]))
    assert "<h1>ERM</h1>" in page
    assert '<p class="big level">50.2</p>' in page


def test_results_table():
    page = render_report(make_report())
    for text in ("43.3", "40.3 to 46.3", "48.3", "+5.0", "+1.0 to +8.0", "DRSF − ERM", "source_val", "Seed: 0",
                 "95 % bootstrap interval", "unseen mean", "training.max_steps", "2.15", "Rendered images."):
        assert text in page, text
    assert re.search(r"daytime foggy</th><td>–</td>", page)
    head = re.search(r"<thead>(.*?)</thead>", page, re.DOTALL)
    assert re.findall(r"<th[^>]*>([^<]*)", head[1]) == ["domain", "DRSF − ERM", "ERM", "DRSF", "images"]


def test_results_without_intervals():
    rows = make_report().records.drop(columns=["low", "high"])
    page = render_report(make_report(records=rows, differences=make_report().differences.iloc[:0]))
    assert "bootstrap" not in page
    assert "DRSF − ERM" not in page


def test_missing_domain_is_shown_as_not_run():
    rows = make_report().records
    page = render_report(make_report(records=rows[~((rows["method"] == "drsf") & (rows["domain"] == "night_clear"))]))
    assert "not run" in page


def test_scenes_begin_with_the_first_unseen_domain(tmp_path):
    page = render_report(make_report(scenes=scenes(tmp_path), classes=["car", "person"], errors_note="Shares."))
    assert re.findall(r'aria-selected="true">([^<]*)', page) == ["night clear"]
    assert page.count("1 of 2 found, 3 false") == 2 * 3  # alt text, label and the line below, in two domains
    assert page.count("<polyline") == 4
    cells = re.findall(r'<td class="(hit|wrong|miss)" style="--s:([\d.]+)">([^<]*)', page)
    assert cells[:9] == [("hit", "0.75", "75"), ("wrong", "0.25", "25"), ("miss", "0.00", ""), ("wrong", "0.00", ""),
                         ("hit", "0.50", "50"), ("miss", "0.50", "50"), ("wrong", "0.00", ""), ("wrong", "1.00", "5"),
                         ("hit", "0.00", "")]
    assert '<th scope="row">person <small>4</small></th>' in page


def test_many_classes_are_listed_by_confusion(tmp_path):
    confusion = np.diag(np.full(30, 8))
    confusion[4, 7], confusion[2, 1] = 2, 1
    one = Scene("night_clear", [], {"erm": {"confusion": confusion.tolist(), "precision": None}})
    page = render_report(make_report(scenes=[one], classes=[f"kind_{k}" for k in range(30)]))
    assert "<td>kind 4</td><td>kind 7</td><td>20 %</td><td>2</td>" in page
    assert page.count("<td>kind ") == 4
    assert "<polyline" not in page


@pytest.mark.parametrize(("photo", "kind"), [(False, "PNG"), (True, "WEBP")])
def test_pictures_decode(photo, kind):
    uri = embed_figure(picture(photo).figure)
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))
    assert image.format == kind
    assert image.size == (600, 450)


def test_picture_from_file(tmp_path):
    shown = picture()
    shown.figure.savefig(tmp_path / "f.png")
    assert embed_figure(tmp_path / "f.png") == embed_figure(shown.figure)


def test_wide_pictures_are_scaled_down():
    uri = embed_figure(new_figure(20, 2))
    assert Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).width == 1800


def test_alternative_text_is_what_the_figure_states(tmp_path):
    stated = picture()
    stated.figure.set_label("DRSF 35.1, ERM 24.0")
    stated.figure.savefig(tmp_path / "f.png", metadata={"Title": "From a file"})
    page = render_report(make_report(pictures=[stated, Picture("File", tmp_path / "f.png", "not used"), picture()]))
    assert re.findall(r'alt="([^"]+)"', page) == ["DRSF 35.1, ERM 24.0", "From a file", "two lines"]


def test_changed_parameters_come_first_and_others_by_group():
    page = render_report(make_report(parameters={"a": {"b": 1, "c": {}}, "d": [1], "e": {"f": 2}}, read=["a", "d"],
                                     changed=[("a.b", 1, 0)]))
    for row in ("<td>a.b</td><td>1</td><td>0</td>", "<td>a.c</td><td>{}</td>", "<td>d</td><td>[1]</td>"):
        assert row in page, row
    assert "e.f" not in page
    assert page.index("<td>a.b</td><td>1</td><td>0</td>") < page.index("<td>a.c</td>")
    assert "No parameter differs" in render_report(make_report())


def test_data_card_leaves_out_what_is_nowhere():
    page = render_report(make_report())
    card = page[page.index('<section id="data">'):]
    assert re.findall(r'<th scope="col">([^<]*)', card)[:8] == ["domain", "split", "images", "boxes", "car", "person",
                                                              "size", "box side, px"]
    assert '<th scope="row">daytime clear</th><td>train</td><td>1,320</td>' in card
    assert "320x192 (+1)" in card
    assert "no box of person in daytime_clear/train" in card
    assert "night_clear/7.jpg: no such file" in card


def test_page_names_classes_that_a_domain_lacks():
    rows = make_report().records.assign(classes_scored="2 of 2")
    assert "classes scored" not in render_report(make_report(records=rows))
    rows.loc[rows["domain"] == "night_clear", "classes_scored"] = "1 of 2 (no bus)"
    page = render_report(make_report(records=rows))
    assert page.count("left out of its score; classes scored: night_clear 1 of 2 (no bus).") == 1
