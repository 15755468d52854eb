"""A photo under its map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lookalike.render.colors import Palette, palette
from lookalike.render.placement import fitted, place, seen
from lookalike.render.ranges import checked_map, per_percent, shared_limit
from lookalike.types import Explanation, ImageMap, Picture

_UNSEEN = (206, 206, 206)  # gray veil over what lies outside the model's input
_UNSEEN_OPACITY = 0.55


def overlay(
    image_map: ImageMap,
    *,
    limit: float | None = None,
    colors: str = "lookalike",
    max_side: int = 1024,
    smooth: bool = True,
    dim_unseen: bool = True,
) -> Image.Image:
    """Draw a map (h, w) over its photo: RGB, longest side at most ``max_side`` pixels.

    ``limit`` is the absolute value at the ends of the color range, in the map's own unit (by default
    the map's largest; use one limit for images that will be compared). Zero is transparent. With
    ``dim_unseen``, what lies outside the model's input is veiled in gray. Raises ValueError for maps
    that are not finite or 2-d, a limit that is negative or not finite, and unknown colors.
    """
    if max_side < 1:
        raise ValueError(f"max_side must be at least 1 pixel, got {max_side}")
    chosen = palette(colors)
    original = image_map.picture.original_size
    largest = min(max_side, max(original))
    values = image_map.values
    return painted(
        image_map,
        fitted(original, (largest, largest)),
        limit=shared_limit([values], signed=chosen.signed) if limit is None else _checked_limit(limit),
        colors=chosen,
        smooth=smooth,
        dim_unseen=dim_unseen,
    )


def query_overlay(
    explanation: Explanation,
    *,
    among: Sequence[Explanation] = (),
    colors: str = "lookalike",
    max_side: int = 1024,
    smooth: bool = True,
) -> Image.Image:
    """Draw the query's map over its photo, in the color range that it shares with the match: RGB.

    ``among`` are further explanations that share the range.
    """
    limit = explanation_limit([explanation, *among], palette(colors))
    density = per_percent(explanation.query)
    return overlay(density, limit=limit, colors=colors, max_side=max_side, smooth=smooth)


def match_overlay(
    explanation: Explanation,
    *,
    among: Sequence[Explanation] = (),
    colors: str = "lookalike",
    max_side: int = 1024,
    smooth: bool = True,
) -> Image.Image:
    """Draw the match's map over its photo, as ``query_overlay`` does for the query: RGB."""
    limit = explanation_limit([explanation, *among], palette(colors))
    density = per_percent(explanation.match)
    return overlay(density, limit=limit, colors=colors, max_side=max_side, smooth=smooth)


def explanation_limit(explanations: Sequence[Explanation], colors: Palette) -> float:
    """Return the limit of the color range, per 1 % of the area seen, over all maps of the explanations."""
    maps = [per_percent(side).values for each in explanations for side in (each.query, each.match)]
    return shared_limit(maps, signed=colors.signed)


def painted(
    image_map: ImageMap,
    size: tuple[int, int],
    *,
    limit: float,
    colors: Palette,
    smooth: bool = True,
    dim_unseen: bool = True,
    gray: float = 0.0,
) -> Image.Image:
    """Draw a map over the whole picture at size (H, W): RGB.

    ``gray`` in [0, 1] desaturates the photo, so that its own colors are not mistaken for the map's.
    Raises ValueError for a geometry of an image of another size.
    """
    picture, geometry = image_map.picture, image_map.geometry
    if geometry.original_size != picture.original_size:
        raise ValueError(
            f"the map's geometry is that of an image of {geometry.original_size} (H, W) pixels, but "
            f"{picture.name!r} has {picture.original_size}; are query and match exchanged?"
        )
    image = photo(picture, size)
    color = colors.colorize(
        place(checked_map(image_map.values), geometry, size, smooth=smooth), limit
    )  # (H, W, 4)
    unseen = ~seen(geometry, size)
    color[unseen] = 0
    muted = Image.blend(image, image.convert("L").convert("RGB"), gray) if gray else image
    canvas = _veiled(muted, unseen) if dim_unseen else muted
    return Image.alpha_composite(canvas.convert("RGBA"), Image.fromarray(color)).convert("RGB")


def photo(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """Return the picture as RGB at size (H, W), reduced in two steps if it is huge."""
    image = picture.image.convert("RGB")
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _checked_limit(limit: float) -> float:
    """The limit of a color range; raises ValueError if it is negative or not finite."""
    if not np.isfinite(limit) or limit < 0:
        raise ValueError(f"the limit of a color range must be a finite number of 0 or more, got {limit}")
    return float(limit)


def _veiled(image: Image.Image, unseen: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Image.Image:
    if not unseen.any():
        return image
    veil = Image.new("RGB", image.size, _UNSEEN)
    gray = image.convert("L").convert("RGB")
    return Image.composite(Image.blend(gray, veil, _UNSEEN_OPACITY), image, Image.fromarray(unseen))
