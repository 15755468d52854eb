"""Grids for explanation methods that do not start from a feature grid, and sums over their cells."""

from __future__ import annotations

import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.models.embedder import Embedder
from lookalike.ops.regrid import regrid_window
from lookalike.types import Reading

_SHORT_SIDE = 14  # cells along the shorter side where a model has no grid of its own
_LONGEST = 4  # times as many cells along the longer side, at most


@torch.inference_mode()
def feature_grid(embedder: Embedder, reading: Reading) -> tuple[int, int] | None:
    """The grid (h, w) of a model's features for an image, from one forward pass; None where it has none."""
    image, _ = embedder.tensor(reading)
    try:
        grid: tuple[int, int] = embedder.network.backbone(image).grid
    except UnsupportedMethodError:
        return None
    return grid


def grid_of_cells(size: tuple[int, int], cells: int = _SHORT_SIDE) -> tuple[int, int]:
    """Grid (h, w) of nearly square cells on (H, W) pixels, with ``cells`` along the shorter side.

    There are at most 4 times as many along the longer side, and never more than pixels.
    """
    h, w = (min(round(cells * side / min(size)), _LONGEST * cells, side) for side in size)
    return h, w


def cell_edges(length: int, n: int) -> list[int]:
    """The n + 1 edges of n nearly equal cells of whole pixels or tokens.

    >>> cell_edges(10, 4)
    [0, 2, 5, 8, 10]
    """
    return [round(i * length / n) for i in range(n + 1)]


def summed_by_cell(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Values of pixels (H, W) summed over the cells of a grid: (h, w); pixels on an edge are divided."""
    height, width = values.shape
    sums: Tensor = regrid_window(values, (0.0, 0.0, float(height), float(width)), grid)
    return sums
