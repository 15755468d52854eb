"""Uploads: read in chunks, refused at the limit, held in memory and never written to disk."""

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
    """One uploaded picture."""

    name: str  # given by the client, without folders; for captions only
    data: bytes
    size: tuple[int, int]  # (H, W) pixels, upright


@dataclass(frozen=True)
class Form:
    """A form with one file and, for some routes, settings as JSON."""

    name: str
    data: bytes
    settings: str


@final
class Uploads:
    """Uploaded queries by random id; the oldest are evicted."""

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        self._held: LRUCache[str, Upload] = LRUCache(
            limits.max_queries, max_size=limits.max_query_bytes, size=lambda upload: len(upload.data)
        )

    def keep(self, form: Form) -> tuple[str, Upload]:
        """Check that the file is an image within the limits, store it, and return its id and the upload.

        Raises UnreadableImageError.
        """
        picture = images.load(form.data, limits=self._limits.images, name=form.name)
        upload = Upload(form.name, form.data, picture.original_size)
        id = secrets.token_hex(16)
        self._held.put(id, upload)
        return id, upload

    def get(self, id: str) -> Upload | None:
        """The upload with an id; None if it is unknown or was evicted."""
        return self._held.get(id)


async def read_form(request: Request, limits: WebLimits) -> Form:
    """Read the form of a request with the field ``file``; 413 beyond the limit, 422 without it."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "send the picture as multipart/form-data in the field 'file'")
    pieces = _limited(request, limits.max_upload_bytes + _OVERHEAD)
    parser = MultiPartParser(request.headers, pieces, max_files=1, max_fields=1, max_part_size=_OVERHEAD)
    # Starlette would spool larger files to disk
    parser.spool_max_size = limits.max_upload_bytes + _OVERHEAD
    try:
        form = await parser.parse()
    except _TooLargeError as error:
        raise too_large(limits.max_upload_bytes) from error
    except MultiPartException as error:
        raise HTTPException(422, f"the form can't be read: {error.message}") from error
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
    """The error for a body beyond the limit."""
    return HTTPException(413, f"an upload may have {limit / 2**20:.0f} MiB; send a smaller picture")


class _TooLargeError(MultiPartException):
    """Raised inside the parser, so that it closes its files."""

    def __init__(self) -> None:
        super().__init__("too large")


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    if int(request.headers.get("content-length") or 0) > limit:
        raise _TooLargeError
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > limit:
            raise _TooLargeError
        yield piece


def _plain_name(name: str | None) -> str:
    plain = PurePosixPath((name or "").replace("\\", "/")).name
    printable = "".join(character for character in plain if character.isprintable())
    return printable[:_NAME_LENGTH] or "upload"
