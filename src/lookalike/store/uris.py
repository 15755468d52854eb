"""URIs of galleries: folders and object stores."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from lookalike.errors import GalleryError


def plain_uri(uri: str | Path) -> str:
    """Return the URI as text; a ``file:`` URI becomes a path, as LanceDB does not decode escapes like %20.

    Raises GalleryError for a file on another host.
    """
    text = str(uri)
    if not text.startswith("file:"):
        return text
    address = urlsplit(text)
    if address.netloc not in ("", "localhost"):
        raise GalleryError(f"{text} is a file on {address.netloc}; give a folder of this machine")
    return unquote(address.path)
