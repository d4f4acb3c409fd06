"""The demo page in a real browser: uv pip install --group browser, and a Chromium on the path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from demo.test_demo import chosen, kept, server  # noqa: F401

from dg_project.demo.server import DemoServer

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (group browser)")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_photo_is_painted_and_detected(server: DemoServer, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, asked, errors = browser.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.url)
        page.click("text=night rain")
        page.set_input_files("#file", str(folder / "test_000.jpg"))
        page.click("#go")
        page.wait_for_selector("#models figure")
        assert page.locator("#photos figure").count() == 2
        assert page.locator("#models figure").count() == 2
        assert page.inner_text("#said").startswith("Done in")
        (tmp_path / "broken.jpg").write_bytes(b"no image")
        page.set_input_files("#file", str(tmp_path / "broken.jpg"))
        page.click("#go")
        assert page.wait_for_selector("#said.error").inner_text().startswith("this file is no image")
        browser.close()
    assert not errors
    assert all(url.startswith((server.url, "data:", "blob:")) for url in asked)
