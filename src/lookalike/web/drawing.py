"""Pictures as bytes for browsers."""

from __future__ import annotations

import io

from fastapi import Response
from PIL import Image

from lookalike.render.colors import palette
from lookalike.web.schemas import Palette

_STEP = 8  # of the palette's table; browsers interpolate
_FOR_EVER = {"cache-control": "private, max-age=86400, immutable"}  # an id is a content


def jpeg(image: Image.Image) -> bytes:
    """The picture as JPEG."""
    return _encoded(image, "JPEG", quality=88)


def picture_response(data: bytes) -> Response:
    """A JPEG that may be kept: its address names its content."""
    return Response(data, media_type="image/jpeg", headers=_FOR_EVER)


def png_response(image: Image.Image) -> Response:
    """A picture as PNG."""
    return Response(_encoded(image, "PNG"), media_type="image/png")


def colors() -> Palette:
    """The palette of all maps."""
    table = palette("lookalike").table[::_STEP]
    return Palette(rgba=[(r, g, b, a) for r, g, b, a in table.tolist()])


def _encoded(image: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
