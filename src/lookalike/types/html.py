"""Self-contained HTML fragments for the notebook representation of results."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

from lookalike.types.geometry import FloatArray
from lookalike.types.maps import ImageMap
from lookalike.types.scales import ColorScale

_SIDE = 260  # pixels of an image's longer side
_POSITIVE, _NEGATIVE = (215, 76, 17), (17, 76, 191)  # RGB; the ends of the colors of lookalike.render
_OPACITY = 209  # of the largest value, of 255


def map_html(image_map: ImageMap, scale: ColorScale, caption: str) -> str:
    """Return an image under its map (HTML), in the colors of a scale."""
    height, width = image_map.picture.original_size
    top, left, crop_height, crop_width = image_map.geometry.crop
    where = (
        f"left:{100 * left / width:.3f}%;top:{100 * top / height:.3f}%;"
        f"width:{100 * crop_width / width:.3f}%;height:{100 * crop_height / height:.3f}%"
    )
    colors = _data_uri(_colored(scale.relative(image_map.values)), "PNG")
    return (
        "<div><div style='position:relative;overflow:hidden;display:inline-block'>"
        f"{_img(image_map.picture.image)}<img src='{colors}' style='position:absolute;{where}'></div>"
        f"<div>{escape(caption)}</div></div>"
    )


def photo_html(image: Image.Image | None, caption: str) -> str:
    """Return an image above a caption (HTML); the caption alone if there is no image."""
    photo = "" if image is None else _img(image)
    return f"<div style='font:12px sans-serif'>{photo}<div>{caption}</div></div>"


def table_html(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table (HTML) with a caption above it; all values are shown as text."""
    head = "".join(f"<th>{escape(each)}</th>" for each in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        "<table style='font:12px sans-serif'><caption style='text-align:left'>"
        f"{escape(caption)}</caption><tr>{head}</tr>{body}</table>"
    )


def _colored(relative: FloatArray) -> Image.Image:
    """Relative values (h, w) as an RGBA image with one pixel per cell."""
    rgba = np.zeros((*relative.shape, 4), np.uint8)
    rgba[..., :3] = np.where(relative[..., None] < 0, _NEGATIVE, _POSITIVE)
    rgba[..., 3] = np.rint(np.nan_to_num(np.abs(relative)).clip(0, 1) * _OPACITY)
    return Image.fromarray(rgba)


def _img(image: Image.Image) -> str:
    small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    return f"<img src='{_data_uri(small, 'JPEG')}' style='display:block'>"


def _data_uri(image: Image.Image, format: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
