"""Markdown that somebody else wrote, as HTML inside a page: no raw HTML, no pictures, headings under the page's own."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")

_SKIPPED = 2
"""Levels that headings go down: h1 is the page's name, h2 its section."""


def to_html(text: str) -> Markup:
    tokens = _reader.parse(text)
    html: str = _reader.renderer.render(_lowered(tokens), _reader.options, {})
    return Markup(html)  # noqa: S704  the reader escapes everything that is not Markdown


def _lowered(tokens: Sequence[Token]) -> Sequence[Token]:
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + _SKIPPED)}"
        if token.type in ("th_open", "td_open"):
            token.attrs.pop("style", None)  # the pages allow no inline style
        if token.type == "th_open":
            token.attrs["scope"] = "col"
    return tokens
