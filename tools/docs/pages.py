"""Hooks of the site: the protocols' pages stand beside docs/, and links to files that no site has become text."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_OUTSIDE = ("http://", "https://", "mailto:")


def on_files(files: Files, config: Any) -> Files:
    """Add ``conf/<environment>/README.md`` as ``protocols/<environment>.md``."""
    for path in sorted(Path(config["config_file_path"]).parent.glob("conf/*/README.md")):
        text = path.read_text(encoding="utf-8")
        files.append(File.generated(config, f"protocols/{path.parent.name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Point links at the site's pages; what lies elsewhere in the repository is only named."""
    here = page.file.src_uri
    page_path = PurePosixPath(here)
    home = f"conf/{page_path.stem}" if here.startswith("protocols/") else str(PurePosixPath("docs", here).parent)

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if target.startswith(_OUTSIDE):
            return match[0]
        place = _normal(f"{home}/{target}")
        if place.startswith("conf/") and place.endswith("/README.md"):
            place = f"docs/protocols/{place.split('/')[1]}.md"
        if not place.startswith("docs/"):
            return text
        up = "../" * here.count("/")
        return f"[{text}]({up}{place.removeprefix('docs/')}{anchor})"

    return _LINK.sub(link, markdown)


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts)
