"""The navigation of the site, made from docs/index.md: each heading with the links of its table."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"^\| \[[^\]]+\]\(([^)#]+)\.md\)", re.MULTILINE)


def add_toctrees(app: Any, docname: str, source: list[str]) -> None:
    if docname == app.config.root_doc:
        source[0] += "\n".join(toctrees(source[0]))


def toctrees(page: str) -> list[str]:
    """A hidden toctree for each section of the index."""
    return [
        "\n".join(["\n```{toctree}", ":hidden:", f":caption: {title}", "", *map(_document, pages), "```"])
        for title, text in _SECTION.findall(page)
        if (pages := _LINK.findall(text))
    ]


def _document(link: str) -> str:
    return "/" + posixpath.normpath(posixpath.join("docs", link))
