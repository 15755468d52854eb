"""Overlap of area: of boxes, masks and the cells of one grid with the cells of another.

Everything is a product of overlaps along the rows and along the columns, computed in float64.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lookalike.types import Geometry

_Number = float | int  # the type checks of the tests accept no int as a float


def interval_overlaps(first: Float[Tensor, " n1"], second: Float[Tensor, " m1"]) -> Float[Tensor, "n m"]:
    """Length of the overlap of each interval between neighboring edges with each of another division.

    ``first`` holds n + 1 rising edges and ``second`` m + 1, in the same unit.

    >>> interval_overlaps(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.5, 2.0]))
    tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]])
    """
    ends = torch.minimum(first[1:, None], second[None, 1:])
    return (ends - torch.maximum(first[:-1, None], second[None, :-1])).clamp(min=0)


def regrid(
    shares: Float[Tensor, "N D"], grid: tuple[int, int], target: tuple[int, int]
) -> Float[Tensor, "M D"]:
    """Shares of one grid (h, w) spread over another by overlap of area; their sum is kept.

    >>> regrid(torch.tensor([[4.0], [2.0]]), (1, 2), (1, 4)).T
    tensor([[2., 2., 1., 1.]])
    """
    cells = shares.reshape(*grid, shares.shape[1])  # (h, w, D)
    rows, columns = (
        interval_overlaps(_edges(0, n, m), _edges(0, n, n)).to(shares)
        for n, m in zip(grid, target, strict=True)
    )  # (h', h) and (w', w)
    return torch.einsum("yh,xw,hwd->yxd", rows, columns, cells).flatten(0, 1)


def regrid_window(
    values: Float[Tensor, "h w"], window: tuple[_Number, _Number, _Number, _Number], grid: tuple[int, int]
) -> Float[Tensor, "H W"]:
    """A window of a map on another grid (H, W); the value of a cell is spread evenly over its area.

    ``window`` (top, left, bottom, right) is in cells of the map. The result sums to what the window
    holds.

    >>> regrid_window(torch.tensor([[4.0, 2.0]]), (0.0, 0.5, 1.0, 2.0), (1, 3))
    tensor([[2., 1., 1.]])
    """
    top, left, bottom, right = window
    h, w = values.shape
    rows = interval_overlaps(_edges(top, bottom, grid[0]), _edges(0, h, h)).to(values)  # (H, h)
    columns = interval_overlaps(_edges(left, right, grid[1]), _edges(0, w, w)).to(values)  # (W, w)
    return rows @ values @ columns.T


def box_coverage(
    geometry: Geometry, box: tuple[_Number, _Number, _Number, _Number], grid: tuple[int, int]
) -> Float[Tensor, "h w"]:
    """Fraction of each cell of a grid (h, w) that lies in a box: float32 in [0, 1].

    ``box`` is (left, top, right, bottom) in original pixels; ``geometry`` says where the grid lies.

    >>> squashed = Geometry((20, 30), (224, 224), (0, 0, 20, 30))
    >>> box_coverage(squashed, (5, 0, 30, 10), (1, 3))
    tensor([[0.2500, 0.5000, 0.5000]])
    """
    left, top, right, bottom = box
    crop_top, crop_left, height, width = geometry.crop
    rows = _covered(top - crop_top, bottom - crop_top, height, grid[0])
    columns = _covered(left - crop_left, right - crop_left, width, grid[1])
    return (rows[:, None] * columns).float()


def mask_coverage(
    geometry: Geometry,
    mask: Bool[Tensor, "H W"],
    grid: tuple[int, int],
    box: tuple[_Number, _Number, _Number, _Number] | None = None,
) -> Float[Tensor, "h w"]:
    """Fraction of each cell of a grid (h, w) that a mask covers: float32 in [0, 1].

    The mask lies over the original image, or with a ``box`` (left, top, right, bottom), in pixels of
    the original, over that part of it at any resolution. Raises ValueError for a mask without a box
    that is not of the image's size.

    >>> squashed = Geometry((20, 30), (224, 224), (0, 0, 20, 30))
    >>> mask_coverage(squashed, torch.tensor([[True, False]]), (1, 3), (0, 0, 20, 10))
    tensor([[0.5000, 0.0000, 0.0000]])
    """
    if box is None:
        if tuple(mask.shape) != tuple(geometry.original_size):
            raise ValueError(
                f"a mask for this image has size {tuple(geometry.original_size)}, got {tuple(mask.shape)}"
            )
        box = (0, 0, mask.shape[1], mask.shape[0])
    top, left, height, width = geometry.crop
    rows, columns = (
        interval_overlaps(_edges(start, start + length, n), _edges(*ends, m))
        for start, length, n, ends, m in (
            (top, height, grid[0], (box[1], box[3]), mask.shape[0]),
            (left, width, grid[1], (box[0], box[2]), mask.shape[1]),
        )
    )  # (h, H) and (w, W)
    cell_area = height / grid[0] * width / grid[1]
    return (rows @ mask.double().cpu() @ columns.T / cell_area).float()


def cell_coverage(
    part: Geometry, part_grid: tuple[int, int], whole: Geometry, whole_grid: tuple[int, int]
) -> Float[Tensor, "M N"]:
    """Fraction of each of the N cells of one grid that lies in each of the M cells of another: float32.

    Both geometries belong to the same original image; rows are the cells of ``part``, row-major.
    """
    along = []
    for axis in (0, 1):
        start, length, n = whole.crop[axis], whole.crop[2 + axis], whole_grid[axis]
        first = (part.crop[axis] - start) / length * n  # in cells of the whole
        edges = _edges(first, first + part.crop[2 + axis] / length * n, part_grid[axis])
        along.append(interval_overlaps(edges, _edges(0, n, n)))
    return torch.kron(*along).float()


def _edges(start: _Number, stop: _Number, n: int) -> Tensor:
    """The n + 1 edges of n equal intervals, float64."""
    return start + (stop - start) * (torch.arange(n + 1, dtype=torch.float64) / n)


def _pixel_edges(n: int) -> Tensor:
    return torch.arange(n + 1, dtype=torch.float64)


def _covered(start: _Number, stop: _Number, length: _Number, n: int) -> Tensor:
    """Fraction of each of n equal intervals of [0, length] that lies between start and stop."""
    span = torch.tensor([start, stop], dtype=torch.float64) / length * n
    return interval_overlaps(_pixel_edges(n), span)[:, 0]
