"""Uploaded pictures: read in chunks up to the limit, kept in memory; only cases write them to disk.

``routes`` passes their ids to ``service``, which searches with them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import final

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from lookalike.errors import UnreadableImageError
from lookalike.images.guarded import GuardedDecoder
from lookalike.web.caching import LRUCache
from lookalike.web.limits import WebLimits
from lookalike.web.security import FORM_OVERHEAD

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
        self._decoder = GuardedDecoder(seconds=limits.decoding_seconds)
        self._held: LRUCache[str, Upload] = LRUCache(
            limits.max_queries, max_size=limits.max_query_bytes, size=lambda upload: len(upload.data)
        )

    def keep(self, form: Form) -> tuple[str, Upload]:
        """Check that the file is an image within the limits, and store it under a new id.

        Returns the id and the upload. Raises UnreadableImageError.
        """
        upload = Upload(form.name, form.data, self.checked_size(form))
        id = secrets.token_hex(16)
        self._held.put(id, upload)
        return id, upload

    def checked_size(self, form: Form) -> tuple[int, int]:
        """Decode an upload in a process of its own, and return its size (H, W) in pixels.

        Raises UnreadableImageError for a file that is no image, or beyond the limits.
        """
        height, width = self._decoder.size_of(form.data, self._limits.images, form.name)
        if max(height, width) > self._limits.max_side:
            raise UnreadableImageError(
                f"{form.name}: of {height:,} x {width:,} pixels one side is longer than "
                f"{self._limits.max_side:,}; cut it into pieces"
            )
        return height, width

    def close(self) -> None:
        """End the process that decodes."""
        self._decoder.close()

    def get(self, id: str) -> Upload | None:
        """Return the upload, or None if the id is unknown or the upload was evicted."""
        return self._held.get(id)


async def read_form(request: Request, limits: WebLimits) -> Form:
    """Read the multipart form of a request, with its picture in the field ``file``.

    Raises HTTPException: 413 beyond the limit, 415 for another content type, 422 for a malformed form.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "send the picture as multipart/form-data in the field 'file'")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=1, max_fields=1, max_part_size=FORM_OVERHEAD
    )
    # beyond this size, which the middleware lets nobody send, Starlette would write a temporary file
    parser.spool_max_size = limits.max_upload_bytes + FORM_OVERHEAD
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(422, f"the form can't be parsed: {error.message}") from error
    file, settings = form.get("file"), form.get("settings")
    if not isinstance(file, UploadFile):
        await form.close()
        raise HTTPException(422, "the form has no picture in the field 'file'")
    data = await file.read()
    await form.close()
    if len(data) > limits.max_upload_bytes:
        limit = f"{limits.max_upload_bytes / 2**20:.0f} MiB"
        raise HTTPException(413, f"an upload may have at most {limit}; send a smaller picture")
    return Form(_plain_name(file.filename), data, settings if isinstance(settings, str) else "{}")


def _plain_name(name: str | None) -> str:
    plain = PurePosixPath((name or "").replace("\\", "/")).name
    printable = "".join(character for character in plain if character.isprintable())
    return printable[:_NAME_LENGTH] or "upload"
