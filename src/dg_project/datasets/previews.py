"""What Kedro-Viz shows of tables, pages, and of what no run has written yet."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from html.parser import HTMLParser
from typing import Any

import pandas as pd

NOT_MADE = "not made yet: no run has written it"
_DROPPED = {"head", "style", "script", "svg", "nav", "button", "dialog", "details"}
_KEPT = ("src", "alt", "scope")
_DIGITS, _LONGEST = 3, 200


def table_rows(table: pd.DataFrame, nrows: int) -> dict[Any, Any]:
    """Return the first rows, with numbers rounded; columns of lists (boxes, labels, scores) are left out."""
    rows = table.head(nrows)
    rows = rows[[name for name in rows.columns if not any(_is_listed(cell) for cell in rows[name])]]
    return rows.map(_readable).to_dict(orient="split")


def empty_table() -> dict[Any, Any]:
    """Return a table that says that there is none."""
    return pd.DataFrame({"": [NOT_MADE]}).to_dict(orient="split")


def empty_image() -> str:
    """Return an image that says that there is none, as base64."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (360, 60), "white")
    ImageDraw.Draw(image).text((16, 20), NOT_MADE, fill="#5f6c7b", font_size=17)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def outline(page: str) -> str:
    """Return the text, tables and images at the top of a page, up to the end of its first section.

    Kedro-Viz reads a page as Markdown, so there is no line break between tags, and no character that is a mark there.
    """
    parser = _Outline()
    parser.feed(page)
    return "".join(parser.kept)


class _Outline(HTMLParser):
    """Copies a page without the elements that Kedro-Viz cannot show."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self._inside: list[str] = []
        self._ended = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _DROPPED:
            self._inside.append(tag)
        elif not self._hidden:
            given = "".join(f' {name}="{escape(value or "")}"' for name, value in attrs if name in _KEPT)
            self.kept.append(f"<{tag}{given}>")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()
        elif not self._hidden and tag not in _DROPPED:
            self.kept.append(f"</{tag}>")
            self._ended = tag == "section"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            text = escape(re.sub(r"\s+", " ", data))
            self.kept.append("" if text == " " else re.sub(r"[_*`]", lambda mark: f"&#{ord(mark[0])};", text))

    @property
    def _hidden(self) -> bool:
        return self._ended or bool(self._inside)


def _is_listed(cell: object) -> bool:
    return isinstance(cell, list | dict | bytes) or bool(getattr(cell, "ndim", 0))


def _readable(cell: object) -> object:
    cell = cell.item() if hasattr(cell, "item") else cell
    if isinstance(cell, float):
        return round(cell, _DIGITS) if cell == cell else ""
    return cell if isinstance(cell, int | str) else str(cell)[:_LONGEST]
