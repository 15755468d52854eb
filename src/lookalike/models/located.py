"""What similarities are split over: the cells of what enters a layer, and what has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.models.backbones import Backbone
from lookalike.models.embedder import Embedder
from lookalike.models.layers import prefix_names
from lookalike.ops.cell_index import CellIndex
from lookalike.ops.regrid import regrid
from lookalike.types import Geometry

_SAME_UNIT = 1e-3  # distance of unit embeddings; rounding is 1e-6, another function 0.01 and more


@dataclass(frozen=True, eq=False)
class LocatedShares:
    """K similarities of one image as sums over the cells of a layer, and what has no cell."""

    content: Tensor  # (K, N) float32: what each cell carried into the layer
    constants: Tensor  # (K, N) float32: what later layers added at each cell
    residual: Mapping[str, Tensor]  # each (K,) float32: "CLS", "register 1", "position", ...
    grid: tuple[int, int]  # (h, w), h * w == N

    @property
    def values(self) -> Tensor:
        """Content and constants together: (K, N)."""
        return self.content + self.constants

    @property
    def without_cell(self) -> Tensor:
        """The whole residual: (K,)."""
        return sum(self.residual.values(), self.content.new_zeros(len(self.content)))


@final
class Account:
    """The parts of K similarities as they come in."""

    def __init__(self, n_directions: int, grid: tuple[int, int], device: torch.device) -> None:
        self._grid = grid
        self.content = torch.zeros(n_directions, grid[0] * grid[1], device=device)
        self.constants = torch.zeros_like(self.content)
        self._residual: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add (K,) values to a part without a cell."""
        self._residual[name] = self._residual.get(name, torch.zeros_like(values)) + values

    def add_prefix(self, values: Tensor | None, names: tuple[str, ...]) -> None:
        """Add what lies on prefix tokens, (K, P), by their names."""
        for i, name in enumerate(names if values is not None and values.shape[1] else ()):
            assert values is not None
            self.add(name, values[:, i])

    def total(self) -> Tensor:
        """The sum of all parts: (K,)."""
        return self.content.sum(1) + self.constants.sum(1) + sum(self._residual.values())

    def result(self) -> LocatedShares:
        """The finished account, on the CPU."""
        residual = {name: values.cpu() for name, values in self._residual.items()}
        return LocatedShares(self.content.cpu(), self.constants.cpu(), residual, self._grid)


@final
class LayerCells:
    """Where the features that enter a layer lie: their grid of cells, and the prefix tokens before it.

    ``entering`` is (1, T, C), (1, C, h, w), (1, h, w, C), or windows of these; ``index`` says which cell
    each element lies at, None where they are in order. Raises UnsupportedMethodError for tokens that
    fill no grid; ``name`` is the model's, for that message.
    """

    def __init__(
        self, backbone: Backbone, geometry: Geometry, entering: Tensor, index: CellIndex | None, *, name: str
    ) -> None:
        self._size, self._index = geometry.input_size, index
        self._declared = "NHWC" in str(getattr(backbone.model, "output_fmt", "") or "")
        self._token_grid = _last_grid(backbone, geometry.input_size)
        self.prefix = prefix_names(backbone)
        self.grid = self._grid(entering, name)

    @property
    def n_prefix(self) -> int:
        """Number of prefix tokens."""
        return len(self.prefix)

    def add_features(self, account: Account, amounts: Tensor) -> Tensor | None:
        """Add amounts for each feature that enters, (K, *shape), to an account's content.

        Returns those of prefix tokens, (K, P), where they enter with the cells.
        """
        axis = 2 if amounts.ndim == 5 and not self._is_channels_last(amounts) else -1
        merged = None if self._index is None else self._index.merged(1 if axis == 2 else -1)
        cells, prefix = self.on_cells(account, amounts.sum(axis), merged)
        assert cells is not None
        account.content += cells
        return prefix

    def on_cells(
        self, account: Account, values: Tensor, index: CellIndex | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Values (K, B, ...) by position on the layer's cells (K, N), and on prefix tokens.

        Without an index, positions (T,) or (h, w) are in order.
        """
        if index is not None:
            cells, prefix, rest = index.totals(values, self.n_prefix)
            if bool(rest.any()):
                account.add("padding", rest)
            return _regridded(cells, index.grid, self.grid), prefix
        if values.shape[1] != 1:
            return None, None
        values = values[:, 0]
        if values.ndim == 3:
            grid = (values.shape[1], values.shape[2])
            return _regridded(values.flatten(1), grid, self.grid), None
        if values.ndim != 2:
            return None, None
        for n_prefix in dict.fromkeys((self.n_prefix, 0)):
            found = self._grid_of(values.shape[1] - n_prefix)
            if found is not None:
                return _regridded(values[:, n_prefix:], found, self.grid), values[:, :n_prefix]
        return None, None

    def _grid(self, x: Tensor, name: str) -> tuple[int, int]:
        """The grid of the layer's cells."""
        if (
            self._index is not None
            and self._index.merged(-1 if x.ndim == 3 or self._is_channels_last(x) else 1) is not None
        ):
            return self._index.grid
        if x.ndim == 4:
            last = self._is_channels_last(x)
            return (x.shape[1], x.shape[2]) if last else (x.shape[2], x.shape[3])
        for n_prefix in dict.fromkeys((self.n_prefix, 0)):
            found = self._grid_of(x.shape[1] - n_prefix)
            if found is not None:
                return found
        raise UnsupportedMethodError(
            f"{x.shape[1]} tokens enter this layer of {name}, which fill no grid; choose another layer"
        )

    def _grid_of(self, n_tokens: int) -> tuple[int, int] | None:
        """The grid of so many tokens: that of the last layer, or the one with the image's proportions."""
        if self._token_grid is not None and self._token_grid[0] * self._token_grid[1] == n_tokens:
            return self._token_grid
        height, width = self._size
        h = max(1, round((n_tokens * height / width) ** 0.5))
        w = n_tokens // h
        return (h, w) if h * w == n_tokens and self._has_proportions(h, w) else None

    def _has_proportions(self, h: int, w: int) -> bool:
        """Whether a grid has the proportions of the network's input, to within one cell."""
        height, width = self._size
        return abs(h * width - w * height) <= max(height, width)

    def _is_channels_last(self, x: Tensor) -> bool:
        """Whether a map is (B, h, w, C): its first sizes then have the image's proportions."""
        first, second = self._has_proportions(*x.shape[-3:-1]), self._has_proportions(*x.shape[-2:])
        return first if first != second else self._declared


def check_single_scale(embedder: Embedder) -> None:
    """Raise UnsupportedMethodError for an embedder that merges several passes."""
    if embedder.scales != (1.0,):
        raise UnsupportedMethodError(
            f"shares of a layer follow one forward pass, and {embedder.name} embeds at "
            f"{len(embedder.scales)} scales; use the last layer's shares"
        )


def check_unit(found: Tensor, expected: Tensor, *, name: str) -> None:
    """Raise UnsupportedMethodError where the unit (D,) of a run to be split is not that of a plain run."""
    gap = float((found.detach().double().cpu() - expected.double().cpu()).norm())
    if not gap <= _SAME_UNIT:
        raise UnsupportedMethodError(
            f"a run of {name} that can be split misses its embedding by {gap:.1e}, for it holds a function "
            "that is not understood; use the last layer's shares or method 'occlusion'"
        )


def _last_grid(backbone: Backbone, size: tuple[int, int]) -> tuple[int, int] | None:
    """The grid of the tokens that the backbone returns; None where it is not known."""
    try:
        return backbone.token_grid(size)
    except UnsupportedMethodError:
        return None


def _regridded(values: Tensor, grid: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """(K, n) values of one grid on another; sums are kept."""
    return values if grid == target else regrid(values.T, grid, target).T
