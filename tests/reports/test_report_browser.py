"""The report in a real browser: the slider moves, tabs and models change, nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reports.test_run_page import make_report, picture, scenes

from dg_project.reports.run_page import Scene, render_report


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three models in two domains."""
    folder = tmp_path_factory.mktemp("report")
    two = [Scene(one.domain, [one.views[0], ("naive", *one.views[0][1:]), one.views[1]], one.errors)
           for one in scenes(folder)]
    report = make_report(scenes=two, classes=["car", "person"], pictures=[picture(), picture(section="curious",
                                                                                           folded=True)])
    (folder / "report.html").write_text(render_report(report))
    return folder / "report.html"


def test_slider_tabs_and_zoom(browser: Any, page_file: Path) -> None:
    page, asked, problems = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url) if not request.url.startswith("data:") else None)
    page.on("pageerror", lambda error: problems.append(error))
    page.goto(page_file.as_uri())
    shown = page.locator(".scene.shown")
    assert shown.locator("h3").text_content() == "night clear"
    edge = "getComputedStyle(document.querySelector('.scene.shown .right')).clipPath"
    assert page.evaluate(edge) == "inset(0px 0px 0px 50%)"
    box = shown.locator("input").bounding_box()
    shown.locator("input").click(position={"x": box["width"] * 0.2, "y": box["height"] / 2})
    moved = float(shown.locator("input").input_value())
    assert moved == pytest.approx(20, abs=3)
    assert page.evaluate(edge) == f"inset(0px 0px 0px {moved:g}%)"

    page.get_by_role("tab", name="daytime clear").click()
    assert shown.locator("h3").text_content() == "daytime clear"
    assert page.evaluate(edge) == f"inset(0px 0px 0px {moved:g}%)", "every domain shows the same edge"
    page.keyboard.press("ArrowRight")
    assert shown.locator("h3").text_content() == "night clear"
    shown.get_by_role("button", name="naive").click()
    assert shown.locator(".view.left figcaption b").text_content() == "naive"

    page.locator("main img.zoom").first.click()
    assert page.locator("dialog").is_visible()
    page.locator("dialog img").click()
    assert not page.locator("dialog").is_visible()
    assert asked == [page_file.as_uri()]
    assert problems == []


@pytest.mark.parametrize("way", ["without scripts", "printed"])
def test_all_domains_show_without_scripts_and_in_print(browser: Any, page_file: Path, way: str) -> None:
    context = browser.new_context(java_script_enabled=way == "printed")
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print" if way == "printed" else "screen")
    assert page.locator(".scene:visible").count() == 2
    assert page.locator(".view:visible").count() == 2 * 3
    assert page.locator("[role=tab]:visible").count() == 0
    if way == "printed":
        assert len(page.pdf()) > 10_000
    context.close()


def test_phone_shows_the_gain_and_never_scrolls_sideways(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    gain = page.locator("#results tr.mean td").first
    assert gain.text_content().startswith("+5.0")
    right = gain.bounding_box()
    assert right["x"] + right["width"] <= 390
    page.close()
