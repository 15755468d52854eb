"""Separate overlays of query and match at the original size, with the file names of the papers' code."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from PIL import Image

from lookalike.render.overlay import match_overlay, query_overlay
from lookalike.types import Explanation

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
_MAX_BYTES = 100  # of each name, so that two of them stay below the 255 of common file systems


def overlays(
    explanation: Explanation, *, colors: str = "lookalike", max_side: int = 4096, smooth: bool = True
) -> dict[str, Image.Image]:
    """Draw both overlays; return them by file name, "A_simmap_with_B.png" (the query) and the reverse.

    Each has the size of its original, up to ``max_side`` pixels on the longest side. Colors are as in
    ``query_overlay``: attributions share a range, heat maps and "jet" have their own ends. A and B are
    the pictures' names without folder and extension, with "_" for characters that file names can't hold.
    If A equals B, the match's file ends in "_match.png".
    """
    query, match = _stem(explanation.query.name, "query"), _stem(explanation.match.name, "match")
    match_file = f"{match}_simmap_with_{query}" + ("_match" if query == match else "")
    return {
        f"{query}_simmap_with_{match}.png": query_overlay(
            explanation, colors=colors, max_side=max_side, smooth=smooth
        ),
        f"{match_file}.png": match_overlay(explanation, colors=colors, max_side=max_side, smooth=smooth),
    }


def _stem(name: str, fallback: str) -> str:
    """The name without folder and extension, valid as a file name on any system."""
    stem = PurePosixPath(name.replace("\\", "/")).stem
    safe = _UNSAFE.sub("_", stem).strip(" .")
    return safe.encode()[:_MAX_BYTES].decode(errors="ignore") or fallback
