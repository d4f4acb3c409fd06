"""The documentation as a site: built in silence, without broken links, with a search that works from disk."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; no notebook is executed and no pipeline drawn for it."""
    for name in ("material", "mkdocstrings", "latex2mathml", "nbconvert"):
        pytest.importorskip(name, reason="the site's packages are not installed: uv pip install --group docs")
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run([sys.executable, "tools/docs", "--quick", "--out", str(folder)], cwd=PROJECT, text=True,
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


class Links(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links |= {named[name] for name in ("href", "src") if named.get(name)}
        self.anchors |= {named[name] for name in ("id", "name") if named.get(name)}


def test_links_lead_to_files_and_anchors(site: Path) -> None:
    pages = {path: Links(path) for path in site.rglob("*.html") if path.name != "404.html" and "pipelines" not in
             path.parts}
    assert len(pages) > 40
    broken = []
    for page, found in pages.items():
        for link in map(urlsplit, found.links):
            if link.scheme or link.netloc:
                continue
            target = (page.parent / unquote(link.path)).resolve() if link.path else page
            anchor = unquote(link.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{page.relative_to(site)}: {link.geturl()}")
    assert not broken


def test_pages_show_the_readme_formulas_and_docstrings(site: Path) -> None:
    home, drsf, api = ((site / name).read_text(encoding="utf-8") for name in ("index.html", "methods/drsf.html",
                                                                              "api.html"))
    assert "images/tiny_ldm_samples.jpg" in home
    assert "gain of drsf over naive" in home
    assert drsf.count("<math") > 30
    assert "arithmatex" not in drsf
    assert 'id="dg_project.predict.trained.load"' in api
    assert "Open a trained model." in api


def test_search_works_from_disk(site: Path, browser: Any) -> None:
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.type(".md-search__input", "channel entropy")
    page.locator(".md-search-result__link", has_text="DRSF").first.click(timeout=60_000)
    page.wait_for_url("**/*.html*")
    assert "DRSF" in page.title()
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
