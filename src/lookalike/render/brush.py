"""How the maps of a picture are drawn: their colors, and one scale for all of them or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from lookalike.render.colors import check_colors, palette
from lookalike.render.placement import place, place_cubic, seen
from lookalike.render.published import published, published_scale
from lookalike.render.ranges import checked_map, per_percent, shared_range, side_limits
from lookalike.types import ColorScale, Explanation, ImageMap, Picture

_UNSEEN = (206, 206, 206)  # gray veil over what lies outside the model's input
_UNSEEN_OPACITY = 0.55


@dataclass(frozen=True)
class Brush:
    """Colors and scale of the maps of one picture.

    Attributions share a scale, so that a weak map looks weak; where the queries' maps would be blank in that
    of the matches, or the other way around, each side has one. A map that promises no sum is drawn between
    its own ends, and so is every map in the look of the papers, "jet".
    """

    colors: str  # "lookalike" or "jet"
    smooth: bool  # whether maps are interpolated between the centers of cells
    shared: ColorScale | None  # of all maps; None where each has its own
    of_queries: ColorScale | None = (
        None  # of the queries' maps, where ``shared`` is that of the matches' alone
    )

    @classmethod
    def of(cls, explanations: Sequence[Explanation], *, colors: str, smooth: bool) -> Brush:
        """Return the brush for all maps of the explanations, as ``density`` gives them."""
        check_colors(colors)
        if colors == "jet" or not all(each.additive for each in explanations):
            shared_range(
                *(side.values for each in explanations for side in (each.query, each.match))
            )  # drawable
            return cls(colors, smooth, None)
        query, match = map(ColorScale.symmetric, side_limits(explanations))
        return cls(colors, smooth, match, query if query != match else None)

    def for_queries(self) -> Brush:
        """Return the brush for the queries' maps: this one, unless they have a scale of their own."""
        return self if self.of_queries is None else replace(self, shared=self.of_queries, of_queries=None)

    def scale(self, image_map: ImageMap, size: tuple[int, int]) -> ColorScale:
        """Return the scale of a map on its picture at size (H, W)."""
        if self.shared is not None:
            return self.shared
        if self.colors == "jet" and self.smooth:
            return published_scale(image_map, size)
        return ColorScale.between_ends(checked_map(image_map.values), keep_sign=self.colors != "jet")

    def paint(
        self, image_map: ImageMap, size: tuple[int, int], *, dim_unseen: bool = True, muted: bool = True
    ) -> Image.Image:
        """Draw a map over the whole picture at size (H, W): RGB.

        ``muted`` desaturates the photo, so that its own colors are not mistaken for the map's. Raises
        ValueError for a geometry of an image of another size, and for maps that can't be drawn.
        """
        picture, geometry = image_map.picture, image_map.geometry
        if geometry.original_size != picture.original_size:
            raise ValueError(
                f"the map's geometry is that of an image of {geometry.original_size} (H, W) pixels, but "
                f"{picture.name!r} has {picture.original_size}; are query and match exchanged?"
            )
        scale, inside = self.scale(image_map, size), seen(geometry, size)
        relative = scale.relative(checked_map(image_map.values))
        image = photo(picture, size)
        if self.colors == "jet":
            enlarge = place_cubic if self.smooth else partial(place, smooth=False)
            enlarged = enlarge(relative, geometry, size)
            drawn = image.convert("L").convert("RGB") if scale.is_flat else published(image, enlarged, inside)
            return _veiled(drawn, ~inside) if dim_unseen else drawn
        color = palette().colorize(place(relative, geometry, size, smooth=self.smooth))  # (H, W, 4)
        color[~inside] = 0
        if muted:
            image = Image.blend(image, image.convert("L").convert("RGB"), palette().gray)
        canvas = _veiled(image, ~inside) if dim_unseen else image
        return Image.alpha_composite(canvas.convert("RGBA"), Image.fromarray(color)).convert("RGB")


def density(explanation: Explanation, side: ImageMap) -> ImageMap:
    """Return the map of one side in the unit in which it is drawn.

    Attributions are drawn per 1 % of the area seen, so that grids of all sizes compare; heat maps,
    which have no sum to divide over the area, as they are.
    """
    return per_percent(side) if explanation.additive else side


def photo(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """Return the picture as RGB at size (H, W), reduced in two steps if it is huge."""
    image = picture.image.convert("RGB")
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _veiled(image: Image.Image, unseen: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Image.Image:
    if not unseen.any():
        return image
    veil = Image.new("RGB", image.size, _UNSEEN)
    gray = image.convert("L").convert("RGB")
    return Image.composite(Image.blend(gray, veil, _UNSEEN_OPACITY), image, Image.fromarray(unseen))
