"""Images with some cells hidden: the grid, what hidden cells are filled with, and the order of a map.

Everything happens on the pixels that the network sees, so nothing is resized or cropped afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lookalike.ops.blurring import gaussian_blur
from lookalike.types import FloatArray

Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]  # (H, W, 3) RGB as the network sees it

FILLS = ("mean", "blur", "swap")

_SHORTEST, _LONGEST = 7, 16  # cells along the shorter side
_OF_BLACK_BOX = 10
_KERNEL, _SIGMA, _AT_SIDE = 11, 5.0, 224  # of the blur, in pixels of an input of that side


def evaluation_grid(size: tuple[int, int], own: tuple[int, int] | None) -> tuple[int, int]:
    """The grid (h, w) on which the maps of all methods of one model are compared.

    The model's ``own`` last grid, with 7 to 16 cells along the shorter side and the longer one in
    proportion; where it is not known, 10 cells along the shorter side of the input (H, W).

    >>> evaluation_grid((224, 224), (14, 14)), evaluation_grid((256, 128), None)
    ((14, 14), (20, 10))
    >>> evaluation_grid((518, 518), (37, 37)), evaluation_grid((64, 96), (4, 6))
    ((16, 16), (7, 10))
    """
    sides = own or size
    short = min(sides)
    wanted = min(max(short, _SHORTEST), _LONGEST) if own else _OF_BLACK_BOX
    h, w = (min(max(1, round(wanted * a / short)), n) for a, n in zip(sides, size, strict=True))
    return h, w


def filling(pixels: Pixels, fill: str, other: Pixels) -> Pixels:
    """What hidden cells show, as a whole image (H, W, 3): ``mean`` color, ``blur`` or ``swap``.

    The blur is Gaussian, with kernel 11 and sigma 5 for an input of 224 pixels and in proportion for
    others; ``swap`` shows the same place of the ``other`` image.
    """
    if fill == "mean":
        mean = pixels.reshape(-1, 3).mean(0).round().astype(np.uint8)
        return np.broadcast_to(mean, pixels.shape)
    if fill == "blur":
        return _blurred(pixels)
    if fill == "swap":
        height, width = pixels.shape[:2]
        image = Image.fromarray(other)
        same = image.size == (width, height)
        return other if same else np.array(image.resize((width, height), Image.Resampling.BILINEAR))
    raise ValueError(f"a fill is one of {', '.join(FILLS)}; got {fill!r}")


def hidden(pixels: Pixels, fill: Pixels, is_hidden: Tensor, grid: tuple[int, int]) -> list[Pixels]:
    """The image (H, W, 3) with each of M sets of cells of a grid (h, w) filled: bool (M, h * w)."""
    cells = cell_of_pixels(pixels.shape[:2], grid)
    return [np.where(each.numpy()[cells][..., None], fill, pixels) for each in is_hidden]


def cell_of_pixels(size: tuple[int, ...], grid: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The cell of each pixel, numbered row by row: (H, W)."""
    height, width = size
    rows = np.arange(height) * grid[0] // height
    columns = np.arange(width) * grid[1] // width
    return rows[:, None] * grid[1] + columns[None]


def most_important(values: Tensor, steps: int) -> Tensor:
    """The 0, 1/S, ..., S/S highest of N values, ties in reading order: bool (S + 1, N)."""
    order = torch.argsort(values.double(), descending=True, stable=True)
    position = torch.empty_like(order)
    position[order] = torch.arange(len(order))
    return position[None] < torch.arange(steps + 1)[:, None] * len(order) / steps


def upsampled(values: FloatArray, size: tuple[int, int]) -> Tensor:
    """A map (h, w), bilinear between the centers of its cells, at every pixel: (H, W) float32."""
    whole = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None]
    return F.interpolate(whole, size, mode="bilinear", align_corners=False)[0, 0]


def blended(pixels: Pixels, fill: Pixels, weights: Tensor) -> Pixels:
    """Pixels where the weights (H, W) are 1, the fill where they are 0, mixed between."""
    kept = weights.numpy()[..., None]
    mixed = pixels * kept + fill * (1 - kept)
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def random_halves(n_cells: int, n_masks: int, seed: Sequence[int]) -> Tensor:
    """Random sets of half of the cells: bool (M, N)."""
    generator = np.random.default_rng(list(seed))
    return torch.from_numpy(generator.random((n_masks, n_cells))).argsort(1) < n_cells // 2


def _blurred(pixels: Pixels) -> Pixels:
    scale = min(pixels.shape[:2]) / _AT_SIDE
    reach = max(1, round((_KERNEL // 2) * scale))
    planes = torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1)[None]  # (1, 3, H, W)
    blurred = gaussian_blur(planes, size=2 * reach + 1, sigma=_SIGMA * scale)[0]
    return np.asarray(blurred.permute(1, 2, 0).round().clamp(0, 255).numpy(), np.uint8)
