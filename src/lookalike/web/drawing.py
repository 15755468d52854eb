"""Images encoded for browsers."""

from __future__ import annotations

import io

from fastapi import Response
from PIL import Image

from lookalike.render.colors import palette
from lookalike.web.schemas import PaletteOut

_STEP = 8  # of the palette's table; browsers interpolate
_FOR_EVER = {"cache-control": "private, max-age=86400, immutable"}  # an id names one content


def jpeg(image: Image.Image) -> bytes:
    """Encode an image as JPEG."""
    return _encoded(image, "JPEG", quality=88)


def picture_response(data: bytes) -> Response:
    """A JPEG response that clients may cache: its URL names its content."""
    return Response(data, media_type="image/jpeg", headers=_FOR_EVER)


def png_response(image: Image.Image) -> Response:
    """A PNG response."""
    return Response(_encoded(image, "PNG"), media_type="image/png")


def colors() -> PaletteOut:
    """The color table of all maps."""
    table = palette("lookalike").table[::_STEP]
    return PaletteOut(rgba=[(r, g, b, a) for r, g, b, a in table.tolist()])


def _encoded(image: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
