"""Encoding of pictures and colors for the browser."""

from __future__ import annotations

import io

from fastapi import Response
from PIL import Image

from lookalike.render.colors import palette
from lookalike.web.schemas import PaletteOut

_STEP = 8  # every eighth color of the table; the browser interpolates
_CACHE_HEADERS = {"cache-control": "private, max-age=86400, immutable"}  # an id never changes its content


def jpeg(image: Image.Image) -> bytes:
    """Return the picture encoded as JPEG."""
    return _encoded(image, "JPEG", quality=88)


def picture_response(data: bytes) -> Response:
    """Return a JPEG response that browsers may cache, since its URL identifies its content."""
    return Response(data, media_type="image/jpeg", headers=_CACHE_HEADERS)


def png_response(image: Image.Image) -> Response:
    """Return the picture as a PNG response."""
    return Response(_encoded(image, "PNG"), media_type="image/png")


def palette_out() -> PaletteOut:
    """Return the palette of all maps, thinned for the browser to interpolate."""
    table = palette().table[::_STEP]
    return PaletteOut(rgba=table.tolist())


def _encoded(image: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
