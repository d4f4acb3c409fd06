"""Hooks of the site: pages from elsewhere in the repository, and links to files that no site has become text."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Link, Navigation, Section
from notebook_pages import as_markdown
from pipeline_graph import drawn_pipelines

PROJECT = Path(__file__).resolve().parents[2]
README_LINK = "The picture, the two commands and the results: [README](../README.md).\n"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_CODE_IN_CELL, _CODE = re.compile(r"<td.*?</td>", flags=re.DOTALL), re.compile(r"(?<=<code>)[^<]*(?=</code>)")
_PART = re.compile(r"(?<=\w)[./_](?=\w)")
_OUTSIDE = ("http://", "https://", "mailto:")


def on_files(files: Files, config: Any) -> Files:
    """Add the protocols (``conf/<environment>/README.md``), the notebooks and the drawn pipelines."""
    for path in sorted(PROJECT.glob("conf/*/README.md")):
        text = path.read_text(encoding="utf-8")
        files.append(File.generated(config, f"protocols/{path.parent.name}.md", content=text))
    for path in sorted(PROJECT.glob("notebooks/*.ipynb")):
        text, pictures = as_markdown(PROJECT, path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    for path in sorted(drawn_pipelines(PROJECT).glob("*.*")):
        files.append(File.generated(config, f"pipelines/{path.name}", abs_src_path=str(path)))
    return files


def on_nav(nav: Navigation, files: Files, **_: Any) -> Navigation:
    """Link the drawn pipelines, if they were drawn."""
    if files.get_file_from_path("pipelines/index.html"):
        [reference] = [item for item in nav.items if isinstance(item, Section) and item.title == "Reference"]
        reference.children.append(Link("Pipelines, drawn", "pipelines/index.html"))
    return nav


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put README's top on the home page; point links at the site's pages, or name what lies elsewhere."""
    here = page.file.src_uri
    home = {"protocols": f"conf/{Path(here).stem}", "notebooks": "notebooks"}.get(
        here.split("/")[0], posixpath.dirname(f"docs/{here}"))
    if here == "index.md":
        page.meta["hide"] = ["navigation", "toc"]
        top = _pointed((PROJECT / "README.md").read_text(encoding="utf-8").split("## Try\n")[0], "", here)
        markdown = markdown.replace("# dg_project\n\n" + README_LINK, top)
    return _pointed(markdown, home, here)


def on_page_content(html: str, **_: Any) -> str:
    """Let names of functions in tables break at their parts, so that no column is cut."""
    return _CODE_IN_CELL.sub(lambda cell: _CODE.sub(lambda code: _PART.sub(r"\g<0><wbr>", code[0]), cell[0]), html)


def _pointed(markdown: str, home: str, here: str) -> str:
    """Return a text from the folder ``home`` of the repository with links for the site's page ``here``."""

    def link(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        place = posixpath.normpath(posixpath.join(home, target))
        page = _page_of(place)
        if target.startswith(_OUTSIDE) or (image and not place.startswith("docs/")):
            return match[0]
        if page is None:
            return text
        return f"{image}[{text}]({posixpath.relpath(page, posixpath.dirname(here) or '.')}{anchor})"

    return _LINK.sub(link, markdown)


def _page_of(place: str) -> str | None:
    """Return the site's file for a file of the repository, if there is one."""
    if protocol := re.fullmatch(r"conf/(\w+)/README\.md", place):
        return f"protocols/{protocol[1]}.md"
    if notebook := re.fullmatch(r"notebooks/(\w+)\.ipynb", place):
        return f"notebooks/{notebook[1]}.md"
    return place.removeprefix("docs/") if place.startswith("docs/") else None
