"""URIs of galleries: folders and object stores."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyarrow import fs

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


def filesystem_of(uri: str | Path) -> tuple[fs.FileSystem, str]:
    """Return the file system and the path in it of a folder or a URI such as s3://bucket/photos."""
    text = plain_uri(uri)
    if "://" in text:
        filesystem, path = fs.FileSystem.from_uri(text)
        return filesystem, path
    return fs.LocalFileSystem(), str(Path(text).absolute())
