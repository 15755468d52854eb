"""Which cell each element of a tensor lies at, kept while windows are cut, rolled, padded and merged.

Networks that attend in windows reorder their cells (Swin, MaxViT, Hiera). What a function does to the
cells it also does to a tensor of their numbers, which travels beside the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NO_CELL = -(2**20)  # the number of what lies at no cell, such as padding; -1, -2, ... are prefix tokens


@dataclass(frozen=True, eq=False)
class CellIndex:
    """The number of each element's cell, row by row in a grid; negative without a cell."""

    numbers: Tensor  # int32, of the shape of the features
    grid: tuple[int, int]  # (h, w)

    @classmethod
    def of_map(cls, features: Tensor) -> CellIndex:
        """That of a map (B, C, h, w)."""
        h, w = features.shape[2:]
        numbers = torch.arange(h * w, dtype=torch.int32, device=features.device)
        return cls(numbers.reshape(h, w).expand(features.shape), (h, w))

    def merged(self, axis: int) -> CellIndex | None:
        """One element for all along an axis, in a coarser grid whose cells they fill; None if there is none.

        Four cells of 2 x 2 merge into one of half the grid; all cells into a grid of 1 x 1.
        """
        first = self.numbers.narrow(axis, 0, 1)
        if self.numbers.stride(axis) == 0 or bool((self.numbers == first).all()):
            return CellIndex(first, self.grid)
        if bool((self.numbers < 0).any()):
            return None
        (h, w), rows, columns = self.grid, self.numbers // self.grid[1], self.numbers % self.grid[1]
        down, across = (int((x.amax(axis) - x.amin(axis)).max()) + 1 for x in (rows, columns))
        if h % down or w % across:
            return None
        numbers = rows // down * (w // across) + columns // across
        first = numbers.narrow(axis, 0, 1)
        return CellIndex(first, (h // down, w // across)) if bool((numbers == first).all()) else None

    def totals(self, values: Tensor, n_prefix: int) -> tuple[Tensor, Tensor, Tensor]:
        """Values of K directions (K, ...) by cell (K, h * w), by prefix token (K, P), and the rest (K,)."""
        values, numbers = values.flatten(1), self.numbers.flatten().to(values.device, torch.int64)
        n = self.grid[0] * self.grid[1]
        slots = torch.where(
            numbers < -n_prefix, n + n_prefix, torch.where(numbers < 0, n - 1 - numbers, numbers)
        )
        total = values.new_zeros(len(values), n + n_prefix + 1).index_add_(1, slots, values)
        return total[:, :n], total[:, n:-1], total[:, -1]


def cells_of(features: Any) -> CellIndex | None:
    """The index that was set on a tensor or carried to it."""
    return getattr(features, "_lookalike_cells", None)


def set_cells(features: Any, cells: CellIndex | None) -> None:
    """Set the index of a tensor."""
    if isinstance(features, Tensor):
        features._lookalike_cells = cells  # type: ignore[attr-defined]


def carry_cells(
    name: str, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], output: Any
) -> None:
    """Set the index of what a function of torch returned, from those of its arguments."""
    if name in _JOINING:
        set_cells(output, _joined(func, args, kwargs))
    elif name in _MOVING and args and (cells := cells_of(args[0])) is not None:
        options = dict(kwargs)
        if name == "pad":
            mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
            args, options = args[:2], {**kwargs, "value": NO_CELL}
            if mode != "constant":
                return
        numbers = func(cells.numbers, *args[1:], **options)
        pairs = zip(output, numbers, strict=True) if isinstance(output, list | tuple) else [(output, numbers)]
        for each, its_numbers in pairs:
            set_cells(each, CellIndex(its_numbers, cells.grid))
    elif isinstance(output, Tensor):
        set_cells(output, _computed(name, args, kwargs, output))


def is_token_axis(features: Tensor, axis: int) -> bool:
    """Whether tensors joined along the axis are tokens (B, T, C)."""
    return features.ndim == 3 and axis in (1, -2)


def _computed(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor) -> CellIndex | None:
    """The index of what was computed cell by cell, or on a new grid."""
    if name in _SPATIAL and output.ndim == 4:
        return CellIndex.of_map(output)
    found = [cells for each in (*args, *kwargs.values()) if (cells := cells_of(each)) is not None]
    alike = [cells for cells in found if cells.numbers.shape == output.shape]
    if alike:
        return max(alike, key=lambda cells: cells.grid[0] * cells.grid[1])
    if not found:
        return None
    axis = -1
    if name in _REDUCING:
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if not isinstance(axis, int):
            return None
    merged = found[0].merged(axis)
    if merged is None:
        return None
    numbers = merged.numbers
    if name in _REDUCING and numbers.ndim > output.ndim:
        numbers = numbers.squeeze(axis)
    if numbers.ndim != output.ndim or numbers.shape[:-1] != output.shape[:-1]:
        return None
    return CellIndex(numbers[..., :1].expand(output.shape) if axis == -1 else numbers, merged.grid)


def _joined(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> CellIndex | None:
    """The index of joined tensors; tokens that have none are prefix tokens, counted as they come."""
    tensors: Sequence[Tensor] = args[0] if args else kwargs["tensors"]
    axis = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    found = [cells_of(each) for each in tensors]
    grids = {cells.grid for cells in found if cells is not None}
    if len(grids) != 1 or (None in found and not is_token_axis(tensors[0], axis)):
        return None
    numbers, n_before = [], 0
    for each, cells in zip(tensors, found, strict=True):
        if cells is None:
            shape = [1] * each.ndim
            shape[axis] = each.shape[axis]
            tokens = -1 - n_before - torch.arange(each.shape[axis], dtype=torch.int32, device=each.device)
            numbers.append(tokens.reshape(shape).expand(each.shape))
            n_before += each.shape[axis]
        else:
            numbers.append(cells.numbers)
    return CellIndex(torch.cat(numbers, axis), grids.pop())


_MOVING = frozenset((
    "view", "reshape", "permute", "transpose", "swapaxes", "movedim", "flatten", "unflatten", "squeeze",
    "unsqueeze", "contiguous", "clone", "expand", "narrow", "select", "getitem", "roll", "flip", "pad",
    "chunk", "split", "unbind", "tensor_split",
))  # fmt: skip
_JOINING = frozenset(("cat", "concat", "concatenate"))
_REDUCING = frozenset(("amax", "mean", "sum"))
_SPATIAL = frozenset((
    "conv2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate",
))  # fmt: skip
