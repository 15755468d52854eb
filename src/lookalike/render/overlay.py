"""One photo under its map: the picture that all pictures are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lookalike.render.colors import Palette, palette
from lookalike.render.placement import fitted, place, seen
from lookalike.render.ranges import checked_map, per_percent, shared_limit
from lookalike.types import Explanation, ImageMap, Picture

_UNSEEN = (206, 206, 206)  # gray that covers what the network did not see
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
    """The photo with a map (h, w) in colors where its cells lie: RGB, longest side max_side at most.

    Colors are in the map's own unit: ``limit`` is the absolute value at the ends of the colors
    (the map's largest by default; give the same to pictures that will be compared). Zero leaves
    the photo as it is. What the network did not see is veiled in gray, or untouched without
    ``dim_unseen``. Raises ValueError for maps that are not finite or 2-d, a limit that is negative
    or not finite, and unknown colors.
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
    """The query under its map, in the range that it shares with the match: RGB.

    ``among`` names explanations that are shown beside it and share the range as well.
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
    """The match under its map, as ``query_overlay`` shows the query: RGB."""
    limit = explanation_limit([explanation, *among], palette(colors))
    density = per_percent(explanation.match)
    return overlay(density, limit=limit, colors=colors, max_side=max_side, smooth=smooth)


def explanation_limit(explanations: Sequence[Explanation], colors: Palette) -> float:
    """The end of the colors, per 1 % of the area seen, over all maps of the explanations."""
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
    """The whole picture at size (H, W) with the map's colors laid over it: RGB.

    ``gray`` in [0, 1] takes that much of the photo's own color away, so that a brown floor and an
    orange map stay two things. Raises ValueError for a geometry of an image of another size.
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
    """The picture as RGB at size (H, W), reduced in two steps where it is huge."""
    image = picture.image.convert("RGB")
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _checked_limit(limit: float) -> float:
    """The limit of a color range; ValueError where it is negative or not finite."""
    if not np.isfinite(limit) or limit < 0:
        raise ValueError(f"the limit of a color range must be a finite number of 0 or more, got {limit}")
    return float(limit)


def _veiled(image: Image.Image, unseen: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Image.Image:
    if not unseen.any():
        return image
    veil = Image.new("RGB", image.size, _UNSEEN)
    gray = image.convert("L").convert("RGB")
    return Image.composite(Image.blend(gray, veil, _UNSEEN_OPACITY), image, Image.fromarray(unseen))
