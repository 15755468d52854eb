"""Where a gallery lies: a folder, or an object store's URI."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from lookalike.errors import GalleryError


def plain_uri(uri: str | Path) -> str:
    """The URI, of a ``file:`` address the path: LanceDB takes %20 for three characters of a name.

    Raises GalleryError for a file on another machine.
    """
    text = str(uri)
    if not text.startswith("file:"):
        return text
    address = urlsplit(text)
    if address.netloc not in ("", "localhost"):
        raise GalleryError(f"{text} lies on {address.netloc}; give a folder of this machine")
    return unquote(address.path)
