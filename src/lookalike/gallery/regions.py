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
from lookalike.ops.regrid import cell_coverage, mask_coverage
from lookalike.types import Geometry, Picture, Reading, Shares

Box = tuple[float, float, float, float]  # left, top, right, bottom in original pixels
Polygon = Sequence[tuple[float, float]]  # (x, y) in original pixels
_PixelBox = tuple[int, int, int, int]  # left, top, right, bottom, inside the image


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

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Return the pixels inside the polygon, (H, W) bool for a size (height, width); None for a box."""
        return None if self.polygon is None else _polygon_mask(self.polygon, size)


def region_shares(reading: Reading, region: Region, embedder: Embedder) -> Shares:
    """Return the shares of a region, on the grid of its crop, from two forward passes.

    Values (N, D) float32 and residual (D,) sum to the sum of both unit vectors, before normalization.
    Raises ValueError for a region that is empty or outside the image, and UnsupportedMethodError for
    a model without shares.
    """
    size = reading.picture.original_size
    mask = region.mask(size)
    pixels = _bounds(mask) if mask is not None else _pixel_box(region.box, size)
    whole = embedder.shares(reading)
    crop = embedder.shares(_cropped(reading.picture, pixels))
    crop = replace(crop, geometry=_moved(crop.geometry, pixels, size))
    if mask is not None:
        crop = _inside(crop, mask)
    values = _unit_sum(_resampled(whole, crop, mask)) + _unit_sum(crop.values, crop.residual)
    residual = crop.residual / _length(crop.values.sum(0) + crop.residual)
    return Shares(values, residual, crop.grid, crop.geometry)


def _cropped(picture: Picture, pixels: _PixelBox) -> Picture:
    """The crop of a picture; one decoded at reduced scale is cropped at that scale."""
    height, width = picture.original_size
    left, top, right, bottom = pixels
    x, y = picture.image.width / width, picture.image.height / height
    box = (math.floor(left * x), math.floor(top * y), math.ceil(right * x), math.ceil(bottom * y))
    return Picture(picture.image.crop(box), (bottom - top, right - left), picture.name)


def _resampled(whole: Shares, crop: Shares, mask: NDArray[np.bool_] | None) -> Tensor:
    """The whole image's shares on the finer grid of a crop, weighted by the overlap of the cells."""
    weights = cell_coverage(crop.geometry, crop.grid, whole.geometry, whole.grid)
    if mask is not None:
        weights = weights * mask_coverage(crop.geometry, torch.from_numpy(mask), crop.grid).reshape(-1, 1)
    return weights @ whole.values  # (N of the crop, D)


def _inside(shares: Shares, mask: NDArray[np.bool_]) -> Shares:
    """Shares weighted by each cell's coverage by the mask; the residual is dropped."""
    weights = mask_coverage(shares.geometry, torch.from_numpy(mask), shares.grid).reshape(-1, 1)
    return replace(shares, values=shares.values * weights, residual=torch.zeros_like(shares.residual))


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


def _polygon_mask(polygon: Polygon, size: tuple[int, int]) -> NDArray[np.bool_]:
    if len(polygon) < 3:
        raise ValueError(f"a polygon needs three corners or more, got {len(polygon)}")
    canvas = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in polygon], fill=1)
    mask = np.array(canvas, dtype=np.bool_)
    if not mask.any():
        raise ValueError(f"the polygon covers none of the {size[1]} x {size[0]} pixels of the image")
    return mask


def _bounds(mask: NDArray[np.bool_]) -> _PixelBox:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
