"""The report is one self-contained, escaped HTML file with the given numbers."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from evaluation.helpers import records
from PIL import Image

from dg_project.figures.style import new_figure
from dg_project.reports.run_page import Picture, Report, embed_figure, render_report

DOMAINS = {"daytime_clear": 0.712, "night_clear": 0.433, "daytime_foggy": 0.571}


def picture(photo: bool = False) -> Picture:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.imshow(np.random.default_rng(0).random((400, 400, 3))) if photo else axes.plot([0, 1])
    return Picture("Losses & more", figure, "two lines")


def make_report(**changes: object) -> Report:
    rows = records({"erm": {0: DOMAINS}, "drsf": {0: {d: v + 0.05 for d, v in DOMAINS.items()}}})
    rows = rows.assign(low=rows["value"] - 0.03, high=rows["value"] + 0.03)
    differences = pd.DataFrame([{"method": "drsf", "domain": d, "metric": "mAP@50", "over": "erm", "difference": 0.05,
                                 "low": 0.01, "high": 0.08} for d in [*DOMAINS, "unseen_mean"]])
    given = {"title": "A run <script>alert(1)</script>", "summary": "ERM & DRSF", "facts": {"seed": "0"},
             "records": rows, "differences": differences,
             "interval_note": "95 % bootstrap interval, 80 scenes.",
             "data_card": "daytime_clear  320 images", "pictures": [picture()],
             "per_class": {"DRSF": pd.DataFrame({"car": [0.5, np.nan]}, index=["night_clear", "daytime_foggy"])},
             "parameters": {"training": {"max_steps": 300}}, "versions": {"torch": "2.15"},
             "limits": ["Rendered images."]}
    return Report(**{**given, **changes})  # type: ignore[arg-type]


class Checker(HTMLParser):
    """Collects every attribute that could fetch something, and checks that tags nest."""

    void = frozenset({"meta", "img", "br", "link"})

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


def test_page_is_self_contained():
    page = render_report(make_report())
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.links
    assert all(link.startswith("data:image/") for link in checker.links)
    assert not re.search(r"https?://|url\(|@import|<script", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_text_is_escaped():
    page = render_report(make_report())
    assert "A run &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Losses &amp; more" in page


def test_results_table():
    page = render_report(make_report())
    for text in ("43.3", "40.3 to 46.3", "48.3", "+5.0", "+1.0 to +8.0", "DRSF − ERM", "source_val", "Seed: 0",
                 "95 % bootstrap interval", "unseen mean", "training.max_steps", "2.15", "Rendered images."):
        assert text in page, text
    assert re.search(r"daytime foggy</th><td>–</td>", page)


def test_results_without_intervals():
    rows = make_report().records.drop(columns=["low", "high"])
    page = render_report(make_report(records=rows, differences=make_report().differences.iloc[:0]))
    assert "bootstrap" not in page
    assert "DRSF − ERM" not in page


def test_missing_domain_is_shown_as_not_run():
    rows = make_report().records
    page = render_report(make_report(records=rows[~((rows["method"] == "drsf") & (rows["domain"] == "night_clear"))]))
    assert "not run" in page


@pytest.mark.parametrize(("photo", "kind"), [(False, "PNG"), (True, "JPEG")])
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


def test_parameters_are_listed_by_dotted_path():
    page = render_report(make_report(parameters={"a": {"b": 1, "c": {}}, "d": [1]}))
    for row in ("<td>a.b</td><td>1</td>", "<td>a.c</td><td>{}</td>", "<td>d</td><td>[1]</td>"):
        assert row in page, row


def test_page_names_classes_that_a_domain_lacks():
    rows = make_report().records.assign(classes_scored="2 of 2")
    assert "classes scored" not in render_report(make_report(records=rows))
    rows.loc[rows["domain"] == "night_clear", "classes_scored"] = "1 of 2 (no bus)"
    page = render_report(make_report(records=rows))
    assert page.count("left out of its score; classes scored: night_clear 1 of 2 (no bus).") == 1
