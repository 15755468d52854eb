"""Uploaded pictures: read in chunks up to the limit, kept in memory, never written to disk.

``routes`` passes their ids to ``service``, which searches with them.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import final

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from lookalike import images
from lookalike.web.caching import LRUCache
from lookalike.web.limits import WebLimits

_OVERHEAD = 64 * 2**10  # bytes of a form around its file
_NAME_LENGTH = 120


@dataclass(frozen=True)
class Upload:
    """An uploaded picture."""

    name: str  # the client's file name without folders, for captions only
    data: bytes
    size: tuple[int, int]  # (H, W) in pixels, upright


@dataclass(frozen=True)
class Form:
    """A multipart form: one file and, on some routes, settings as JSON."""

    name: str
    data: bytes
    settings: str


@final
class Uploads:
    """Uploaded queries by random id; beyond the limits the oldest are evicted."""

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        self._held: LRUCache[str, Upload] = LRUCache(
            limits.max_queries, max_size=limits.max_query_bytes, size=lambda upload: len(upload.data)
        )

    def keep(self, form: Form) -> tuple[str, Upload]:
        """Check that the file is an image within the limits, and store it under a new id.

        Returns the id and the upload. Raises UnreadableImageError.
        """
        picture = images.load(form.data, limits=self._limits.images, name=form.name)
        upload = Upload(form.name, form.data, picture.original_size)
        id = secrets.token_hex(16)
        self._held.put(id, upload)
        return id, upload

    def get(self, id: str) -> Upload | None:
        """Return the upload, or None if the id is unknown or the upload was evicted."""
        return self._held.get(id)


async def read_form(request: Request, limits: WebLimits) -> Form:
    """Read the multipart form of a request, with its picture in the field ``file``.

    Raises HTTPException: 413 beyond the limit, 415 for another content type, 422 for a malformed form.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "send the picture as multipart/form-data in the field 'file'")
    chunks = _limited(request, limits.max_upload_bytes + _OVERHEAD)
    parser = MultiPartParser(request.headers, chunks, max_files=1, max_fields=1, max_part_size=_OVERHEAD)
    # beyond this size Starlette would write a temporary file
    parser.spool_max_size = limits.max_upload_bytes + _OVERHEAD
    try:
        form = await parser.parse()
    except _TooLargeError as error:
        raise too_large(limits.max_upload_bytes) from error
    except MultiPartException as error:
        raise HTTPException(422, f"the form can't be parsed: {error.message}") from error
    file, settings = form.get("file"), form.get("settings")
    if not isinstance(file, UploadFile):
        await form.close()
        raise HTTPException(422, "the form has no picture in the field 'file'")
    data = await file.read()
    await form.close()
    if len(data) > limits.max_upload_bytes:
        raise too_large(limits.max_upload_bytes)
    return Form(_plain_name(file.filename), data, settings if isinstance(settings, str) else "{}")


def too_large(limit: int) -> HTTPException:
    """Return the 413 error for an upload beyond the limit in bytes."""
    return HTTPException(413, f"an upload may have at most {limit / 2**20:.0f} MiB; send a smaller picture")


class _TooLargeError(MultiPartException):
    """Raised beyond the limit; a MultiPartException makes the parser close its files."""

    def __init__(self) -> None:
        super().__init__("too large")


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    if int(request.headers.get("content-length") or 0) > limit:
        raise _TooLargeError
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _TooLargeError
        yield chunk


def _plain_name(name: str | None) -> str:
    plain = PurePosixPath((name or "").replace("\\", "/")).name
    printable = "".join(character for character in plain if character.isprintable())
    return printable[:_NAME_LENGTH] or "upload"
