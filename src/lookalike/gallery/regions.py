"""Shares of an image region: the sum of two unit vectors, of the region in context and of its crop.

In context: the whole image's shares inside the region (Stylianou, Souvenir, Pless, "Visualizing Deep
Similarity Networks", WACV 2019), which retrieve scenes that contain the same object. The crop, at the
model's full resolution, retrieves images of the object itself. On generated rooms and on photographs
of framed paintings the sum is never far behind the better one of the two (benchmarks/regions.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from lookalike.models.embedder import Embedder
from lookalike.models.runner import DirectRunner, Runner
from lookalike.ops.regrid import cell_coverage, mask_coverage
from lookalike.types import Geometry, Picture, Reading, Shares

Box = tuple[float, float, float, float]  # left, top, right, bottom in original pixels
Polygon = Sequence[tuple[float, float]]  # (x, y) in original pixels
_PixelBox = tuple[int, int, int, int]  # left, top, right, bottom, inside the image
_MASK_SIDE = 1024  # of the mask over a polygon's box
_FARTHEST = 1e9  # pixels; corners beyond it are moved there


@dataclass(frozen=True)
class Region:
    """A region of an image: a box or the inside of a polygon, in pixels of the original."""

    box: Box | None
    polygon: tuple[tuple[float, float], ...] | None  # (x, y) of its corners

    @classmethod
    def of(cls, box: Box | None, polygon: Polygon | None) -> Region | None:
        """Return the region for a box or a polygon; None for neither. Raises ValueError for both."""
        if box is not None and polygon is not None:
            raise ValueError("a region is a box or a polygon, got both; leave one out")
        if box is not None and (isinstance(box, str) or not _are_numbers(box, 4)):
            raise ValueError(f"a box must be four numbers, left, top, right, bottom in pixels; got {box!r}")
        if polygon is not None and not all(_are_numbers(corner, 2) for corner in polygon):
            raise ValueError(f"a polygon must be a list of corners (x, y) in pixels; got {polygon!r}")
        if box is None and polygon is None:
            return None
        return cls(box, None if polygon is None else tuple((float(x), float(y)) for x, y in polygon))


@dataclass(frozen=True, eq=False)
class _Inside:
    """The inside of a polygon: its smallest box of pixels, and a mask (R, R) bool stretched over it."""

    pixels: _PixelBox
    mask: NDArray[np.bool_]

    def coverage(self, geometry: Geometry, grid: tuple[int, int]) -> Tensor:
        """Fraction of each cell of a grid that lies inside: (N, 1)."""
        return mask_coverage(geometry, torch.from_numpy(self.mask), grid, self.pixels).reshape(-1, 1)


def region_shares(
    reading: Reading,
    region: Region,
    embedder: Embedder,
    *,
    whole: Shares | None = None,
    runner: Runner | None = None,
) -> Shares:
    """Return the shares of a region, on the grid of its crop, from those of the image and of the crop.

    ``whole`` are the shares of the whole image, if they are at hand: that saves half of the work. The model
    runs at once, or by ``runner``.

    Values (N, D) float32 and residual (D,) sum to the sum of both unit vectors, before normalization.
    Raises ValueError for a region that is empty or outside the image, and UnsupportedMethodError for
    a model without shares.
    """
    size = reading.picture.original_size
    inside = None if region.polygon is None else _inside_of(region.polygon, size)
    pixels = _pixel_box(region.box, size) if inside is None else inside.pixels
    runner, cropped = runner or DirectRunner(embedder), embedder.read(_cropped(reading.picture, pixels))
    if whole is None:
        whole, crop = runner.shares([reading, cropped])
    else:
        (crop,) = runner.shares([cropped])
    crop = replace(crop, geometry=_moved(crop.geometry, pixels, size))
    if inside is not None:
        residual = torch.zeros_like(crop.residual)
        crop = replace(
            crop, values=crop.values * inside.coverage(crop.geometry, crop.grid), residual=residual
        )
    values = _unit_sum(_resampled(whole, crop, inside)) + _unit_sum(crop.values, crop.residual)
    residual = crop.residual / _length(crop.values.sum(0) + crop.residual)
    return Shares(values, residual, crop.grid, crop.geometry)


def _cropped(picture: Picture, pixels: _PixelBox) -> Picture:
    """The crop of a picture; one decoded at reduced scale is cropped at that scale."""
    height, width = picture.original_size
    left, top, right, bottom = pixels
    x, y = picture.image.width / width, picture.image.height / height
    box = (math.floor(left * x), math.floor(top * y), math.ceil(right * x), math.ceil(bottom * y))
    return Picture(picture.image.crop(box), (bottom - top, right - left), picture.name)


def _resampled(whole: Shares, crop: Shares, inside: _Inside | None) -> Tensor:
    """The whole image's shares on the finer grid of a crop, weighted by the overlap of the cells."""
    weights = cell_coverage(crop.geometry, crop.grid, whole.geometry, whole.grid)
    if inside is not None:
        weights = weights * inside.coverage(crop.geometry, crop.grid)
    return weights @ whole.values  # (N of the crop, D)


def _unit_sum(values: Tensor, residual: Tensor | None = None) -> Tensor:
    """The values scaled so that their sum, with the residual, has unit length."""
    total = values.sum(0) if residual is None else values.sum(0) + residual
    return values / _length(total)


def _length(total: Tensor) -> Tensor:
    """The length of a vector, at least the smallest positive float."""
    length: Tensor = total.norm()
    return length.clamp(min=torch.finfo(total.dtype).tiny)


def _moved(geometry: Geometry, pixels: _PixelBox, original_size: tuple[int, int]) -> Geometry:
    """A crop's geometry in coordinates of the image that it was cut from."""
    top, left, height, width = geometry.crop
    return Geometry(original_size, geometry.input_size, (top + pixels[1], left + pixels[0], height, width))


def _pixel_box(box: Box | None, size: tuple[int, int]) -> _PixelBox:
    assert box is not None
    left, top, right, bottom = box
    height, width = size
    inside = left < width and top < height and right > 0 and bottom > 0
    if not (left < right and top < bottom and inside and all(math.isfinite(side) for side in box)):
        raise ValueError(
            "a box is left, top, right, bottom in pixels, left < right and top < bottom, "
            f"inside the {width} x {height} pixels of the image; got {tuple(box)}"
        )
    return (
        max(0, math.floor(left)),
        max(0, math.floor(top)),
        min(width, math.ceil(right)),
        min(height, math.ceil(bottom)),
    )


def _are_numbers(values: object, n: int) -> bool:
    """Whether these are n finite numbers."""
    try:
        return len(values) == n and all(math.isfinite(value) for value in values)  # type: ignore[arg-type, attr-defined]
    except TypeError:
        return False


def _inside_of(polygon: Polygon, size: tuple[int, int]) -> _Inside:
    """The inside of a polygon, at a cost that does not depend on the size (H, W) of the image."""
    if len(polygon) < 3:
        raise ValueError(f"a polygon needs three corners or more, got {len(polygon)}")
    corners = _clipped(np.clip(np.array(polygon, dtype=np.float64), -_FARTHEST, _FARTHEST), size)
    if not len(corners) or np.ptp(corners, axis=0).min() == 0:
        raise ValueError(f"the polygon covers none of the {size[1]} x {size[0]} pixels of the image")
    left, top = (math.floor(value) for value in corners.min(0))
    right, bottom = (math.ceil(value) for value in corners.max(0))
    scaled = (corners - (left, top)) * _MASK_SIDE / (right - left, bottom - top) - 0.5  # PIL: pixel centers
    canvas = Image.new("1", (_MASK_SIDE, _MASK_SIDE))
    ImageDraw.Draw(canvas).polygon([(x, y) for x, y in scaled.tolist()], fill=1)
    return _Inside((left, top, right, bottom), np.array(canvas, dtype=np.bool_))


def _clipped(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """The part of a polygon (n, 2) of x, y that lies on an image (H, W): (m, 2), empty outside.

    Side by side, after Sutherland and Hodgman, *Reentrant polygon clipping*, CACM 1974.
    """
    for axis, limit, sign in ((0, 0.0, 1), (0, size[1], -1), (1, 0.0, 1), (1, size[0], -1)):
        kept: list[NDArray[np.float64]] = []
        for here, after in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            a, b = sign * (here[axis] - limit), sign * (after[axis] - limit)
            if a >= 0:
                kept.append(here)
            if (a < 0) != (b < 0):
                crossing = here + (after - here) * (a / (a - b))
                crossing[axis] = limit
                kept.append(crossing)
        corners = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return corners
